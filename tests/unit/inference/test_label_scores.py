"""Labels scored by the LM head: log-probabilities of their words, one by one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dhrd.config import load_config
from dhrd.data.records import LabelSet
from dhrd.errors import DataError
from dhrd.inference.label_scores import score_labels
from dhrd.model.backbone import load_backbone


@pytest.mark.parametrize("with_eos", [False, True])
def test_label_scores_are_the_sums_of_log_probabilities_one_by_one(tiny_backbone: Path, with_eos: bool) -> None:
    backbone = load_backbone(load_config(overrides=[f"model.name_or_path={tiny_backbone}"]).model)
    model, tokenizer = backbone.model.eval(), backbone.tokenizer
    labels = LabelSet(("yes", "no way", "maybe"))
    inputs = tokenizer(["a", "the text is longer", "in the middle"])["input_ids"]
    scores = score_labels(model, tokenizer, inputs, labels, with_eos=with_eos, batch_size=4)
    for row, ids in enumerate(inputs):
        for column, word in enumerate(labels.words):
            answer = tokenizer(f"\nAnswer: {word}", add_special_tokens=False)["input_ids"]
            answer = answer + [tokenizer.eos_token_id] * with_eos
            with torch.no_grad():
                log_p = model(torch.tensor([ids + answer])).logits.log_softmax(-1)[0]
            expected = sum(float(log_p[len(ids) + i - 1, token]) for i, token in enumerate(answer))
            assert scores[row, column] == pytest.approx(expected, abs=1e-4)


def test_sets_of_labels_are_not_scored(tiny_backbone: Path) -> None:
    backbone = load_backbone(load_config(overrides=[f"model.name_or_path={tiny_backbone}"]).model)
    with pytest.raises(DataError, match="these rows may have several"):
        labels = LabelSet(("a", "b"), multi_label=True)
        score_labels(backbone.model, backbone.tokenizer, [[1]], labels, with_eos=False)
