"""Class logits of many inputs by any forward function, and their probabilities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dhrd.data.collate import pad_inputs
from dhrd.data.records import Batch, LabelSet

Forward = Callable[[Batch], Tensor]


def predict_logits(
    forward: Forward, input_ids: Sequence[list[int]], *, pad_token_id: int, batch_size: int, device: Any = "cpu"
) -> np.ndarray:
    """Compute class logits of many inputs with any forward function, in batches.

    Args:
        forward: Maps a batch, of which it reads only the inputs, to logits_BC.
        input_ids: Token ids of each input.
        pad_token_id: Token for padding.
        batch_size: Inputs per batch.
        device: The device on which `forward` runs.

    Returns:
        (rows, C) in fp32, in the order of `input_ids`.
    """
    order = sorted(range(len(input_ids)), key=lambda row: len(input_ids[row]))
    parts: list[Tensor] = []
    with torch.inference_mode():
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            batch = pad_inputs([input_ids[row] for row in rows], pad_token_id=pad_token_id).to(device)
            parts.append(forward(batch).float().cpu())
    logits_sorted = torch.cat(parts).numpy()
    logits = np.empty_like(logits_sorted)
    logits[order] = logits_sorted
    return logits


def probabilities(logits_BC: np.ndarray, *, multi_label: bool) -> np.ndarray:
    """Softmax over classes, or a sigmoid of each for multi-label."""
    logits = torch.from_numpy(logits_BC).double()
    return (torch.sigmoid(logits) if multi_label else torch.softmax(logits, 1)).numpy()


def label_probabilities(logits_BC: np.ndarray, labels: LabelSet) -> np.ndarray:
    """As `probabilities`, normalised within each task's labels."""
    of_tasks = [
        probabilities(logits_BC[:, task.columns], multi_label=task.labels.multi_label) for task in labels.slices
    ]
    return np.concatenate(of_tasks, axis=1)
