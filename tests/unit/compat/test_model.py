"""The documents' model: their four arguments over the parts of the core model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dhrd.compat.model import DualHeadReasoningModel
from dhrd.config import LossSettings, ModelSettings
from dhrd.errors import ModelError
from dhrd.model.dual_head import DualHeadModel
from helpers.models import make_backbone, make_batch, rows, save_backbone


def test_alpha_of_the_documents_is_the_weight_of_the_classifier() -> None:
    backbone = make_backbone("gpt2")
    model = DualHeadReasoningModel(num_labels=2, loss_weight_alpha=0.3, dropout_prob=0.2, backbone=backbone)
    assert model.loss_settings.classification_weight == pytest.approx(0.3)
    assert model.loss_settings.reasoning_weight == pytest.approx(0.7)
    assert model.head.dropout.p == 0.2


def test_a_name_is_loaded(tmp_path: Path) -> None:
    model = DualHeadReasoningModel(save_backbone(tmp_path / "gpt2", "gpt2"), num_labels=3)
    assert (model.num_labels, model.backbone_name) == (3, str(tmp_path / "gpt2"))
    assert model(make_batch(rows(), model)).logits_BC.shape == (6, 3)


def test_settings_and_losses_replace_the_four_arguments() -> None:
    model = DualHeadReasoningModel(
        num_labels=3,
        dropout_prob=0.4,
        loss_weight_alpha=0.3,
        settings=ModelSettings(dropout=0.2, pooling="mean"),
        loss=LossSettings(reasoning_weight=0.0),
        backbone=make_backbone("llama"),
    )
    assert (model.head.dropout.p, model.settings.pooling) == (0.2, "mean")
    assert (model.loss_settings.classification_weight, model.loss_settings.reasoning_weight) == (1, 0)


def test_it_is_the_core_model_of_the_same_parts() -> None:
    ours = DualHeadReasoningModel(num_labels=3, dropout_prob=0.0, backbone=make_backbone("llama"), seed=4)
    core = DualHeadModel(make_backbone("llama"), 3, settings=ModelSettings(dropout=0.0), seed=4)
    batch = make_batch(rows(), core)
    assert torch.equal(ours(batch).logits_BC, core(batch).logits_BC)


def test_label_words_are_one_a_label() -> None:
    settings = ModelSettings(head_init="label_words")
    with pytest.raises(ModelError, match=r"label_words needs 3 words, one per label; got \('a', 'b'\)"):
        DualHeadReasoningModel(num_labels=3, settings=settings, backbone=make_backbone("llama"), label_words=("a", "b"))
