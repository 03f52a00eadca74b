"""The ONNX graph is the classifier's forward pass: every family, both paddings, any batch; int8 with what it costs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from dhrd import ArtifactError, Classifier
from dhrd.data.collate import collate
from dhrd.data.records import Batch, EncodedExample, LabelSet
from dhrd.errors import DhrdError
from dhrd.inference.onnx_model import OnnxForward, write_onnx
from dhrd.model.artifact import ArtifactInfo
from helpers_models import FAMILIES, make_model, rows

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


def tiny(family: str, *, head: str = "linear", pooling: str = "last") -> Classifier:
    model = make_model(family, head=head, pooling=pooling)
    kind = "sequence_classifier" if (head, pooling) == ("linear", "last") else "dhrd_classifier"
    info = ArtifactInfo(kind=kind, labels=LabelSet(("a", "b", "c")), head=head, pooling=pooling)  # type: ignore[arg-type]
    return Classifier(model.causal_lm.base_model, model.head, model.tokenizer, info)


def batch(classifier: Classifier, count: int, *, padding_side: str = "right") -> Batch:
    inputs = [EncodedExample(id="", input_ids=row.input_ids * 3, continuation_ids=[], label=()) for row in rows(count)]
    return collate(inputs, pad_token_id=classifier.tokenizer.pad_token_id, padding_side=padding_side)  # type: ignore[arg-type]


@torch.inference_mode()
def apart(classifier: Classifier, forward: OnnxForward, some: Batch) -> float:
    """The largest difference, relative to the largest logit."""
    expected: Tensor = classifier.logits(some)
    return float((forward(some) - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("family", FAMILIES)
def test_the_graph_is_the_forward_pass(family: str, tmp_path: Path) -> None:
    classifier = tiny(family)
    write_onnx(classifier, tmp_path)
    forward = OnnxForward.from_pretrained(tmp_path)
    assert forward.dtype == "float32"
    for count, side in ((9, "right"), (9, "left"), (1, "right"), (2, "right")):  # (2, 8) is what was traced
        assert apart(classifier, forward, batch(classifier, count, padding_side=side)) < 1e-4, (count, side)


@pytest.mark.parametrize(("head", "pooling"), [("mlp", "last"), ("linear", "mean"), ("mlp", "mean")])
def test_heads_and_pooling_that_transformers_does_not_know(head: str, pooling: str, tmp_path: Path) -> None:
    classifier = tiny("qwen3", head=head, pooling=pooling)
    write_onnx(classifier, tmp_path)
    forward = OnnxForward.from_pretrained(tmp_path)
    for side in ("right", "left"):
        assert apart(classifier, forward, batch(classifier, 9, padding_side=side)) < 1e-4


def test_a_padding_token_inside_a_text_is_no_end(tmp_path: Path) -> None:
    classifier = tiny("llama")
    write_onnx(classifier, tmp_path)
    pad = classifier.tokenizer.pad_token_id
    inputs = [[1, 2, pad], [1, pad, 3, 4, 5]]
    some = collate(
        [EncodedExample(id="", input_ids=i, continuation_ids=[], label=()) for i in inputs], pad_token_id=pad
    )
    assert apart(classifier, OnnxForward.from_pretrained(tmp_path), some) < 1e-4


def test_int8_is_near_and_smaller(tmp_path: Path) -> None:
    classifier = tiny("llama")
    for name, weight_type in (("whole", "float32"), ("small", "int8")):
        (tmp_path / name).mkdir()
        write_onnx(classifier, tmp_path / name, weight_type=weight_type)  # type: ignore[arg-type]
    forward = OnnxForward.from_pretrained(tmp_path / "small")
    assert forward.dtype == "int8"
    assert 1e-6 < apart(classifier, forward, batch(classifier, 9)) < 0.2

    def stored(name: str) -> int:
        return sum(path.stat().st_size for path in (tmp_path / name).iterdir())

    assert stored("small") < stored("whole")


def test_what_is_no_graph_is_said(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"no model\.onnx; write it with dhrd export"):
        OnnxForward.from_pretrained(tmp_path)
    (tmp_path / "model.onnx").write_bytes(b"nonsense")
    with pytest.raises(ArtifactError, match="damaged"):
        OnnxForward.from_pretrained(tmp_path)


def test_a_model_that_cannot_be_traced_is_said(tmp_path: Path) -> None:
    classifier = tiny("llama")

    def forward(batch: Batch) -> Tensor:
        return torch.zeros(int(batch.input_ids_BT.sum()), 3)  # a shape that depends on the tokens

    classifier.logits = forward  # type: ignore[method-assign]
    with pytest.raises(DhrdError, match="this model cannot be exported") as caught:
        write_onnx(classifier, tmp_path)
    assert "\n" not in str(caught.value)
