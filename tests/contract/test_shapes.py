"""The shapes in annotations are checked in the test run."""

from __future__ import annotations

import pytest
import torch

from dhrd.data.collate import pad_inputs
from dhrd.model.pooling import pool


def test_a_wrong_shape_is_caught() -> None:
    batch = pad_inputs([[1, 2]], pad_token_id=0)
    assert pool(torch.zeros(1, 2, 3), batch, "last").shape == (1, 3)
    with pytest.raises(TypeError, match="hidden_SWD"):
        pool(torch.zeros(2, 3), batch, "last")
