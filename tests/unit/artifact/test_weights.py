"""The weights of an artifact as a body and a head."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import dhrd
from dhrd.artifact.info import read_info
from dhrd.artifact.weights import load_body_and_head
from dhrd.data.records import LabelSet
from dhrd.errors import ArtifactError
from helpers.artifacts import perturb, save_model
from helpers.models import (
    make_model,
)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-50])


def drop_the_head(path: Path) -> None:
    from safetensors.torch import save_file

    state = load_file(path)
    del state["score.weight"]
    save_file(state, path, metadata={"format": "pt"})


@pytest.mark.parametrize("damage", [cut, drop_the_head, Path.unlink])
def test_damaged_weights_are_refused_in_one_line(damage: Callable[[Path], None], tmp_path: Path) -> None:
    save_model(tmp_path, make_model())
    damage(tmp_path / "model.safetensors")
    with pytest.raises(ArtifactError) as caught:
        dhrd.Classifier.from_pretrained(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("settings", [{}, {"head": "mlp"}, {"pooling": "mean"}])
def test_body_and_head_are_the_trained_ones(settings: dict[str, Any], tmp_path: Path) -> None:
    model = perturb(make_model("qwen2", **settings)).eval()
    save_model(tmp_path, model, head=model.settings.head, pooling=model.settings.pooling)
    body, head = load_body_and_head(tmp_path, read_info(tmp_path), None, torch.device("cpu"))
    assert {name: tensor.tolist() for name, tensor in head.state_dict().items()} == {
        name: tensor.tolist() for name, tensor in model.head.state_dict().items()
    }
    tokens = torch.arange(6)[None]
    with torch.no_grad():
        expected = model.causal_lm.base_model(input_ids=tokens).last_hidden_state
        torch.testing.assert_close(body.eval()(input_ids=tokens).last_hidden_state, expected)


def test_the_head_stays_in_fp32_where_the_body_does_not(tmp_path: Path) -> None:
    save_model(tmp_path, make_model())
    body, head = load_body_and_head(tmp_path, read_info(tmp_path), "bfloat16", torch.device("cpu"))
    assert (body.dtype, head.score.weight.dtype) == (torch.bfloat16, torch.float32)


def test_a_head_of_other_labels_is_refused(tmp_path: Path) -> None:
    save_model(tmp_path, make_model())
    info = read_info(tmp_path).model_copy(update={"labels": LabelSet(("a", "b"))})
    with pytest.raises(ArtifactError, match=r"the head has 3 labels, dhrd\.json 2"):
        load_body_and_head(tmp_path, info, None, torch.device("cpu"))
