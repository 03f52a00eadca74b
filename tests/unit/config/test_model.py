"""The settings of the backbone and the head: what LoRA may be written as, what does not go together."""

from __future__ import annotations

import re

import pytest

from dhrd.config import ModelSettings, resolve
from dhrd.errors import ConfigError


def test_true_is_the_paper_s_lora_and_one_module_is_a_list() -> None:
    lora = ModelSettings.model_validate({"lora": True}).lora
    assert lora is not None
    assert (lora.r, lora.alpha, lora.dropout, lora.target_modules) == (16, 32, 0.1, None)
    assert ModelSettings.model_validate({"lora": False}).lora is None
    one = resolve({"model": {"lora": {"target_modules": "q_proj"}}}).model.lora
    assert one is not None
    assert one.target_modules == ("q_proj",)


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"model": {"quantization": "nf4"}}, "`quantization` needs `lora`"),
        ({"model": {"lora": True, "freeze_layers": 2}}, "give `lora` or `freeze_layers`, not both"),
        ({"model": {"dropout": 1.0}}, "model.dropout: input should be less than 1, got 1.0"),
        ({"model": {"num_labels": 1}}, "model.num_labels: input should be greater than or equal to 2, got 1"),
        ({"model": {"head": "conv"}}, "model.head: input should be 'linear' or 'mlp', got 'conv'"),
        ({"model": {"head_init": "label_words", "head": "mlp"}}, "`head_init: label_words` needs a linear head on"),
    ],
)
def test_a_setting_that_cannot_work_is_refused(tree: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        resolve(tree)
