"""The DHRD documents' evaluator: a model over a DataLoader."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from dhrd.compat.loader import check_batch, check_labels, groups_of_ids, labels_of
from dhrd.data.records import Batch, LabelSet
from dhrd.data.rows import one_hot
from dhrd.inference.engine.batching import probabilities
from dhrd.metrics.metrics import compute_metrics
from dhrd.metrics.outcomes import Outcomes
from dhrd.model.dual_head import DualHeadModel


class DHRDEvaluator:
    """Evaluates a model on a DataLoader, as in the DHRD documents.

    Args:
        model: A `DualHeadModel`.
        device: The device to run on.
    """

    def __init__(self, model: DualHeadModel, device: str | torch.device = "cpu") -> None:
        self.model = model
        self.device = torch.device(device)

    def evaluate(self, loader: Iterable[Batch], *, intervals: bool = True) -> dict[str, Any]:
        """Evaluate; see `compute_metrics` for the metrics.

        Args:
            loader: Batches with labels, for example from `load_json_dataset(…)`.
            intervals: Whether to compute confidence intervals.

        Raises:
            DataError: A batch has no labels, or they are not those that the model was trained on.
        """
        check_labels(loader, self.model.num_labels, self.model.labels)
        self.model.to(self.device).eval()
        logits: list[np.ndarray] = []
        gold: list[np.ndarray] = []
        ids: list[str] = []
        with torch.inference_mode():
            for batch in loader:
                check_batch(batch, self.model.num_labels)
                logits.append(self.model(batch.to(self.device)).logits_BC.float().cpu().numpy())
                assert batch.label_BC is not None  # as checked
                gold.append(batch.label_BC.numpy())
                ids += batch.ids
        labels = labels_of(loader) or self.model.labels or LabelSet(tuple(map(str, range(logits[0].shape[1]))))
        return compute_metrics(
            Outcomes.of_probabilities(
                ids=ids,
                probabilities_BC=probabilities(np.concatenate(logits), multi_label=labels.multi_label),
                gold_BC=_likeliest(np.concatenate(gold), multi_label=labels.multi_label),
                labels=labels,
                group_B=groups_of_ids(loader, ids),
            ),
            intervals=intervals,
        )


def _likeliest(share_BC: np.ndarray, *, multi_label: bool) -> np.ndarray:
    """The most probable labels of targets that may be probabilities."""
    return (share_BC >= 0.5).astype(np.int64) if multi_label else one_hot(share_BC.argmax(1), share_BC.shape[1])
