"""The ONNX graph is the classifier's forward pass: every family, both paddings, any batch; int8 with what it costs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
import torch
from torch import Tensor

from dhrd import ArtifactError, Classifier
from dhrd.artifact.info import ArtifactInfo
from dhrd.artifact.write import kind_of, save_artifact
from dhrd.data.collate import pad_inputs
from dhrd.data.records import Batch, LabelSet
from dhrd.errors import DhrdError
from dhrd.export.onnx import OnnxForward
from helpers.models import FAMILIES, make_model, texts
from helpers.rows import write_jsonl
from helpers.runs import run_forked

if TYPE_CHECKING:
    from helpers.fork import ForkServer

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


def save(directory: Path, family: str, *, head: str = "linear", pooling: str = "last") -> Path:
    model = make_model(family, head=head, pooling=pooling)
    names = LabelSet(("a", "b", "c"))
    info = ArtifactInfo(kind=kind_of(model), labels=names, head=head, pooling=pooling)  # type: ignore[arg-type]
    save_artifact(directory, model, info, card="", run={"config": {}})
    return directory


class Made(NamedTuple):
    classifier: Classifier
    forward: OnnxForward
    directory: Path

    @torch.inference_mode()
    def apart(self, inputs: list[list[int]], padding_side: str = "right") -> float:
        """The largest difference between logits, relative to the largest."""
        pad_token_id = self.classifier.tokenizer.pad_token_id
        batch = pad_inputs(inputs, pad_token_id=pad_token_id, padding_side=padding_side)  # type: ignore[arg-type]
        expected: Tensor = self.classifier.logits(batch)
        return float((self.forward(batch) - expected).abs().max() / expected.abs().max())


Export = Callable[..., Made]


@pytest.fixture
def export(fork_server: ForkServer, tmp_path: Path) -> Export:
    """`dhrd export` in a process of its own: a check that two sizes are equal makes them constants to torch.export."""

    def make(artifact: Path, *flags: object) -> Made:
        out, data = tmp_path / "onnx", write_jsonl(tmp_path / "rows.jsonl", texts(12))
        ended = run_forked(
            fork_server, tmp_path, "export", "--model", artifact, "--output", out, "--data", data, *flags
        )
        assert ended.code == 0, ended.err
        classifier = Classifier.from_pretrained(artifact, device="cpu", dtype=torch.float32)
        return Made(classifier, OnnxForward.from_pretrained(out), out)

    return make


def tokens(*lengths: int) -> list[list[int]]:
    return [[(7 * row + 3 * column) % 250 for column in range(length)] for row, length in enumerate(lengths)]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_graph_is_the_forward_pass(family: str, export: Export, tmp_path: Path) -> None:
    made = export(save(tmp_path / "artifact", family))
    assert made.forward.dtype == "float32"
    for inputs in (tokens(3, 40, 17, 8), tokens(1), tokens(90), tokens(8, 8)):  # (2, 8) is what was traced
        for side in ("right", "left"):
            assert made.apart(inputs, side) < 1e-4, (inputs, side)


@pytest.mark.parametrize(("head", "pooling"), [("mlp", "last"), ("linear", "mean"), ("mlp", "mean")])
def test_heads_and_pooling_that_transformers_does_not_know(
    head: str, pooling: str, export: Export, tmp_path: Path
) -> None:
    made = export(save(tmp_path / "artifact", "qwen3", head=head, pooling=pooling))
    for side in ("right", "left"):
        assert made.apart(tokens(3, 40, 17, 8), side) < 1e-4


def test_a_padding_token_inside_a_text_is_no_end(export: Export, tmp_path: Path) -> None:
    made = export(save(tmp_path / "artifact", "llama"))
    pad = made.classifier.tokenizer.pad_token_id
    assert made.apart([[1, 2, pad], [1, pad, 3, 4, 5]]) < 1e-4


def test_int8_is_near_and_smaller(export: Export, tmp_path: Path) -> None:
    artifact = save(tmp_path / "artifact", "llama")

    def stored() -> int:
        return sum(path.stat().st_size for path in (tmp_path / "onnx").glob("model.onnx*"))

    export(artifact)
    whole = stored()
    small = export(artifact, "--weights", "int8", "--min-agreement", 0, "--overwrite")
    assert small.forward.dtype == "int8"
    assert 1e-6 < small.apart(tokens(3, 40, 17, 8)) < 0.2
    assert stored() < whole


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
