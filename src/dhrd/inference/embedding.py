"""Embeddings: the pooled vectors that the classification head reads, with the resulting probabilities."""

from __future__ import annotations

import numpy as np
import torch

from dhrd.data.objects import as_rows
from dhrd.inference.classifier import Classifier
from dhrd.inference.engine.batching import label_probabilities
from dhrd.inference.prediction import Rows
from dhrd.inference.streaming import encoded_windows

_WINDOW_ROWS = 2048


def embed(classifier: Classifier, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and pooled vectors, from one forward pass per row.

    Args:
        classifier: The classifier; no other thread may use it meanwhile.
        rows: As for `Classifier.predict`.

    Returns:
        Probabilities, (rows, C), as by `Classifier.predict_proba`, and pooled vectors, (rows, D), in fp32.

    Raises:
        DataError: See `Classifier.predict`.
    """
    vectors: list[np.ndarray] = []
    for window in encoded_windows(as_rows(rows), classifier.encode, _WINDOW_ROWS):
        if window.inputs:
            vectors.append(classifier.engine.pooled([item.input_ids for item in window.inputs]).numpy())
        if window.failure is not None:
            raise window.failure
    if not vectors:
        return np.empty((0, len(classifier.labels))), np.empty((0, 0), dtype=np.float32)
    pooled_ND = np.concatenate(vectors)
    with torch.inference_mode():
        logits_NC = classifier.head(torch.from_numpy(pooled_ND).to(classifier.device)).cpu().numpy()
    return label_probabilities(logits_NC, classifier.labels), pooled_ND
