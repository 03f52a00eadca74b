"""Vectors and probabilities of one pass are those that the classifier gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from dhrd import Classifier
from dhrd.data.collate import pad_inputs
from dhrd.errors import DataError
from dhrd.inference.embedding import embed
from dhrd.model.pooling import last_hidden_states, pool
from helpers.artifacts import save_tiny


@pytest.mark.parametrize(("head", "pooling"), [("linear", "last"), ("mlp", "mean")])
def test_vectors_are_what_the_head_reads(tmp_path: Path, head: str, pooling: str) -> None:
    classifier = Classifier.from_pretrained(
        save_tiny(tmp_path / "model", head=head, pooling=pooling), device="cpu", dtype="float32"
    )
    rows = [f"the case of number {number} " + "again " * (number % 4) for number in range(30)]
    probabilities_NC, pooled_ND = embed(classifier, rows)
    np.testing.assert_allclose(probabilities_NC, classifier.predict_proba(rows), atol=1e-6)
    batch = pad_inputs([item.input_ids for item in classifier.encode(rows)], pad_token_id=0)
    with torch.no_grad():
        expected = pool(last_hidden_states(classifier.body, batch), batch, classifier.info.pooling)
    np.testing.assert_allclose(pooled_ND, expected.numpy(), atol=1e-4)


def test_no_rows_have_no_vectors(tmp_path: Path) -> None:
    classifier = Classifier.from_pretrained(save_tiny(tmp_path / "model"), device="cpu", dtype="float32")
    probabilities_NC, pooled_ND = embed(classifier, [])
    assert probabilities_NC.shape == (0, 3) and len(pooled_ND) == 0
    with pytest.raises(DataError, match="row 1"):
        embed(classifier, ["a", ""])
