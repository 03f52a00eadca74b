"""The ONNX graph is the classifier's forward pass: every family, both paddings, any batch; int8 with what it costs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor

from dhrd import ArtifactError, Classifier
from dhrd.data.records import Batch
from dhrd.errors import DhrdError
from dhrd.export.onnx import OnnxForward
from helpers.exports import Export, Made, check_is_the_forward_pass, exporter, save, tokens
from helpers.models import FAMILIES

if TYPE_CHECKING:
    from helpers.fork import ForkServer

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


@pytest.fixture
def export(fork_server: ForkServer, tmp_path: Path) -> Export:
    return exporter("onnx", fork_server, tmp_path)


@pytest.fixture(scope="module")
def llama(fork_server: ForkServer, tmp_path_factory: pytest.TempPathFactory) -> Made:
    place = tmp_path_factory.mktemp("llama")
    return exporter("onnx", fork_server, place)(save(place / "artifact", "llama"))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_graph_is_the_forward_pass(family: str, export: Export, tmp_path: Path) -> None:
    check_is_the_forward_pass(export(save(tmp_path / "artifact", family)))


@pytest.mark.parametrize(("head", "pooling"), [("mlp", "last"), ("linear", "mean"), ("mlp", "mean")])
def test_heads_and_pooling_that_transformers_does_not_know(
    head: str, pooling: str, export: Export, tmp_path: Path
) -> None:
    made = export(save(tmp_path / "artifact", "qwen3", head=head, pooling=pooling))
    for side in ("right", "left"):
        assert made.apart(tokens(3, 40, 17, 8), side) < 1e-4


def test_a_padding_token_inside_a_text_is_no_end(llama: Made) -> None:
    pad = llama.classifier.tokenizer.pad_token_id
    assert llama.apart([[1, 2, pad], [1, pad, 3, 4, 5]]) < 1e-4


def test_int8_is_near_and_smaller(llama: Made, export: Export, tmp_path: Path) -> None:
    def stored(made: Made) -> int:
        return sum(path.stat().st_size for path in made.directory.glob("model.onnx*"))

    small = export(save(tmp_path / "artifact", "llama"), "--weights", "int8", "--min-agreement", 0)
    assert small.forward.dtype == "int8"
    assert 1e-6 < small.apart(tokens(3, 40, 17, 8)) < 0.2
    assert stored(small) < stored(llama)


def test_what_is_no_graph_is_said(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"no model\.onnx; write it with dhrd export"):
        OnnxForward.from_pretrained(tmp_path)
    (tmp_path / "model.onnx").write_bytes(b"nonsense")
    with pytest.raises(ArtifactError, match="damaged"):
        OnnxForward.from_pretrained(tmp_path)


def test_a_model_that_cannot_be_traced_is_said(tmp_path: Path) -> None:
    artifact = save(tmp_path / "artifact", "llama")
    classifier = Classifier.from_pretrained(artifact, device="cpu", dtype=torch.float32)

    def forward(batch: Batch) -> Tensor:
        return torch.zeros(int(batch.input_ids_BT.sum()), 3)  # a shape that depends on the tokens

    classifier.logits = forward  # type: ignore[method-assign]
    with pytest.raises(DhrdError, match="this model cannot be exported") as caught:
        OnnxForward.write(classifier, tmp_path)
    assert "\n" not in str(caught.value)
