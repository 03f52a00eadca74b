"""Class logits by any forward function: in the order of the rows, whatever the batches; and their probabilities."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dhrd.data.records import Batch
from dhrd.inference.engine.batching import predict_logits, probabilities

ROWS = [[5, 1, 2], [7], [9, 9], [3, 4, 5, 6]]


@pytest.mark.parametrize("batch_size", [1, 3, 9])
def test_logits_come_in_the_order_of_the_rows(batch_size: int) -> None:
    sizes: list[int] = []

    def forward(batch: Batch) -> torch.Tensor:
        sizes.append(len(batch.ids))
        return torch.stack([batch.input_ids_BT[:, 0], batch.attention_mask_BT.sum(1)], 1)

    logits = predict_logits(forward, ROWS, pad_token_id=0, batch_size=batch_size)
    assert logits.tolist() == [[row[0], len(row)] for row in ROWS]
    assert max(sizes) == min(batch_size, len(ROWS)) and sum(sizes) == len(ROWS)


def test_probabilities() -> None:
    logits = np.log(np.array([[1.0, 3.0]]))
    assert probabilities(logits, multi_label=False) == pytest.approx(np.array([[0.25, 0.75]]))
    assert probabilities(logits, multi_label=True) == pytest.approx(np.array([[0.5, 0.75]]))
