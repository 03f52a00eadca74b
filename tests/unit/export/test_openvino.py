"""The OpenVINO model is the classifier's forward pass: every family, both paddings; bf16 with what it costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dhrd import ArtifactError, Classifier
from dhrd.benchmark.inference import benchmark
from dhrd.benchmark.settings import Settings
from dhrd.data.collate import pad_inputs
from dhrd.data.records import Example
from dhrd.errors import DhrdError
from dhrd.export.openvino import BIN_FILE, XML_FILE, OpenvinoForward
from helpers.exports import Export, Made, check_is_the_forward_pass, exporter, save, tokens
from helpers.models import FAMILIES, texts
from helpers.runs import environment

if TYPE_CHECKING:
    from helpers.fork import ForkServer

pytest.importorskip("openvino")
pytest.importorskip("onnxscript")


@pytest.fixture
def export(fork_server: ForkServer, tmp_path: Path) -> Export:
    return exporter("openvino", fork_server, tmp_path)


@pytest.fixture(scope="module")
def llama(fork_server: ForkServer, tmp_path_factory: pytest.TempPathFactory) -> Made:
    place = tmp_path_factory.mktemp("llama")
    return exporter("openvino", fork_server, place)(save(place / "artifact", "llama"))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_model_is_the_forward_pass(family: str, export: Export, tmp_path: Path) -> None:
    check_is_the_forward_pass(export(save(tmp_path / "artifact", family)))


def test_what_transformers_does_not_know_runs_too(export: Export, tmp_path: Path) -> None:
    made = export(save(tmp_path / "artifact", "qwen3", head="mlp", pooling="mean"))
    for side in ("right", "left"):
        assert made.apart(tokens(3, 40, 17, 8), side) < 1e-4


def test_answers_outlive_the_next_call(llama: Made) -> None:
    first = llama.forward(pad_inputs(tokens(5), pad_token_id=0))
    kept = first.clone()
    llama.forward(pad_inputs([[9, 8, 7, 6, 5]], pad_token_id=0))
    assert first.equal(kept)


def test_bf16_is_near_and_smaller(llama: Made, export: Export, tmp_path: Path) -> None:
    whole = (llama.directory / BIN_FILE).stat().st_size
    small = export(save(tmp_path / "artifact", "llama"), "--weights", "bfloat16", "--min-agreement", 0)
    assert small.forward.dtype == "bfloat16"
    assert 1e-6 < small.apart(tokens(3, 40, 17, 8)) < 0.1
    assert (small.directory / BIN_FILE).stat().st_size < 0.7 * whole


def test_it_takes_part_in_a_benchmark(llama: Made, tmp_path: Path) -> None:
    artifact, exports = save(tmp_path / "artifact", "llama"), {"openvino": llama.directory}
    settings = Settings(against=["openvino"], repeats=1, warmup_rows=2, latency_rows=1, exports=exports)
    found = benchmark(artifact, [Example(input_text=row["input_text"]) for row in texts(8)], settings, dtype="float32")
    assert found.contenders["openvino"].label_agreement == 1
    assert found.contenders["openvino"].title.startswith("OpenVINO, float32")


def test_openvino_s_telemetry_stays_out() -> None:
    """In a process of its own: here the package may be imported already."""
    code = (
        "import sys; from dhrd.export.openvino import _openvino; _openvino(); "
        "from openvino.tools.ovc import convert_impl; print(convert_impl.tm.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=True)
    assert done.stdout.split() == ["openvino.tools.ovc.telemetry_stub"]


def test_what_is_no_model_is_said(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"no openvino_model\.xml; write it with dhrd export"):
        OpenvinoForward.from_pretrained(tmp_path)
    (tmp_path / XML_FILE).write_text("nonsense", encoding="utf-8")
    (tmp_path / BIN_FILE).write_bytes(b"nonsense")
    with pytest.raises(ArtifactError, match="damaged"):
        OpenvinoForward.from_pretrained(tmp_path)


def test_a_model_that_cannot_be_converted_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import openvino

    def refuse(_: object) -> None:
        raise RuntimeError("an operator of the future\nand a trace")

    classifier = Classifier.from_pretrained(save(tmp_path / "artifact", "llama"), device="cpu", dtype="float32")
    monkeypatch.setattr(openvino, "convert_model", refuse)
    monkeypatch.setattr("dhrd.export.openvino.traced", lambda _: type("Graph", (), {"save": lambda *a, **k: None})())
    with pytest.raises(DhrdError, match="OpenVINO cannot convert this model: an operator of the future") as caught:
        OpenvinoForward.write(classifier, tmp_path)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("*.xml"))
