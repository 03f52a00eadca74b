"""`dhrd export`: what it writes, that it is run without dhrd, and what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

import dhrd
from dhrd import ArtifactError, Classifier, ConfigError, DataError
from dhrd.artifact.info import read_info
from dhrd.artifact.read import load_input_encoder
from dhrd.benchmark.inference import benchmark
from dhrd.benchmark.settings import Settings
from dhrd.errors import DhrdError
from dhrd.export.export import ExportSettings, export_classifier
from dhrd.export.onnx import OnnxForward
from dhrd.run.rows import rows_of
from helpers.runs import make_config, run_forked, run_here

if TYPE_CHECKING:
    from helpers.fork import ForkServer

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
Capsys = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def artifact(tiny_backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("export")
    return dhrd.train(make_config(tiny_backbone, directory, "training.num_epochs=1")).output_dir


@pytest.fixture(scope="module")
def exported(artifact: Path, fork_server: ForkServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made in a process of its own: a check that two sizes are equal makes them constants to torch.export."""
    directory = tmp_path_factory.mktemp("exported")
    out = directory / "made" / "onnx"
    ended = run_forked(fork_server, directory, "export", "--model", artifact, "--output", out)
    assert ended.code == 0, ended.err
    assert "same label on 100.00% of 9 rows" in ended.out
    assert [path.name for path in out.parent.iterdir()] == ["onnx"]
    return out


@pytest.fixture
def traced(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What torch.export wrote there is written again."""

    def write(_: Classifier, directory: Path, **options: Any) -> None:
        for path in exported.glob("model.onnx*"):
            shutil.copy(path, directory)

    monkeypatch.setattr(OnnxForward, "write", write)


@pytest.fixture
def wrong(traced: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A runtime that gives each class the next one's logit."""
    honest = OnnxForward.__call__
    monkeypatch.setattr(OnnxForward, "__call__", lambda self, batch: honest(self, batch).roll(1, dims=1))


def test_it_runs_without_dhrd_and_says_the_same(artifact: Path, exported: Path) -> None:
    parity = json.loads((exported / "parity.json").read_text())
    assert (parity["weight_type"], parity["num_examples"], parity["label_agreement"]) == ("float32", 9, 1)
    assert parity["max_probability_difference"] < 1e-5
    assert parity["size_bytes"] > 0
    assert {"onnx", "onnxruntime", "transformers"} <= set(parity["versions"])

    from transformers import AutoConfig, AutoTokenizer

    texts = [row.input_text for row in rows_of(artifact)]
    tokens = AutoTokenizer.from_pretrained(exported)(texts, padding=True, return_tensors="np")
    session = onnxruntime.InferenceSession(exported / "model.onnx")
    given = {name: tokens[name].astype(np.int64) for name in ("input_ids", "attention_mask")}
    (logits,) = session.run(["logits"], given)
    names = AutoConfig.from_pretrained(exported).id2label
    assert [names[index] for index in logits.argmax(1)] == Classifier.from_pretrained(artifact, dtype=None).predict(
        texts
    )


def test_rows_of_a_template_are_read_as_its_artifact_reads_them(artifact: Path, exported: Path, tmp_path: Path) -> None:
    """What the page says for templates: long rows keep the template's end, which the graph pools at."""
    texts = [f"case {i * 13} " + "word " * i for i in range(40)]
    read_otherwise = {"input_template": "Text: {{ input_text }}\nVerdict:", "max_input_tokens": 24}
    for name, directory in (("artifact", artifact), ("exported", exported)):
        shutil.copytree(directory, tmp_path / name)
        manifest = tmp_path / name / "dhrd.json"
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | read_otherwise))
    encoder = load_input_encoder(tmp_path / "exported", read_info(tmp_path / "exported"))
    items = encoder.encode([({"input_text": text}, "a row") for text in texts])
    assert 0 < sum(item.was_cut for item in items) < 40
    tokens = encoder.tokenizer.pad({"input_ids": [item.input_ids for item in items]}, return_tensors="np")
    session = onnxruntime.InferenceSession(tmp_path / "exported" / "model.onnx")
    given = {name: tokens[name].astype(np.int64) for name in ("input_ids", "attention_mask")}
    (logits_BC,) = session.run(["logits"], given)
    classifier = Classifier.from_pretrained(tmp_path / "artifact", dtype=None)
    assert [classifier.info.labels.names[index] for index in logits_BC.argmax(1)] == classifier.predict(texts)


def test_its_directory_is_no_artifact_for_dhrd(exported: Path) -> None:
    with pytest.raises(ArtifactError, match=r"an export for ONNX Runtime .*; give the artifact it was made from"):
        Classifier.from_pretrained(exported)
    assert "digests" not in json.loads((exported / "dhrd.json").read_text()), "which are of the artifact's files"


@pytest.mark.usefixtures("wrong")
@pytest.mark.parametrize("was_there", [False, True])
def test_a_graph_that_disagrees_is_no_export(artifact: Path, tmp_path: Path, capsys: Capsys, was_there: bool) -> None:
    out = tmp_path / "out"
    if was_there:
        out.mkdir()
        (out / "old").write_text("kept")
        (out / "dhrd.json").write_text('{"kind": "onnx"}')
    ended = run_here(capsys, "export", "--model", artifact, "--output", out, "--overwrite")
    assert ended.code == 1
    assert "was not written: the graph disagrees with its artifact on 9 rows: same label on 0" in ended.error_lines[0]
    assert [path.name for path in tmp_path.iterdir()] == (["out"] if was_there else [])
    if was_there:
        assert (out / "old").read_text() == "kept"


@pytest.mark.usefixtures("traced")
def test_probabilities_that_are_off_are_refused_though_labels_agree(
    artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = OnnxForward.__call__
    monkeypatch.setattr(OnnxForward, "__call__", lambda self, batch: honest(self, batch) * 1.2)
    with pytest.raises(DhrdError, match=r"same label on 100.00%, probabilities up to \S+ apart"):
        export_classifier(artifact, tmp_path / "out", rows_of(artifact), ExportSettings(min_agreement=0.0))
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("traced")
def test_nan_is_no_agreement(artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = OnnxForward.__call__
    monkeypatch.setattr(OnnxForward, "__call__", lambda self, batch: honest(self, batch) * torch.nan)
    with pytest.raises(DhrdError, match="was not written"):
        export_classifier(
            artifact, tmp_path / "out", rows_of(artifact), ExportSettings(weight_type="int8", min_agreement=0.0)
        )


def test_int8_shows_its_agreement(artifact: Path, tmp_path: Path, fork_server: ForkServer) -> None:
    out = tmp_path / "out"
    flags = ["--weights", "int8", "--min-agreement", 0.5]
    ended = run_forked(fork_server, tmp_path, "export", "--model", artifact, "--output", out, *flags)
    assert ended.code == 0, ended.err
    parity = json.loads((out / "parity.json").read_text())
    assert parity["weight_type"] == "int8"
    assert parity["label_agreement"] >= 0.5
    assert 0 < parity["max_probability_difference"] < 0.2


@pytest.mark.usefixtures("traced")
def test_another_is_replaced_only_when_told(artifact: Path, tmp_path: Path, capsys: Capsys) -> None:
    """And only an export, and of it only what is ours."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "old").write_text("")
    command = ["export", "--model", artifact, "--output", out]
    ended = run_here(capsys, *command)
    assert ended.code == 2
    assert "already exists; replace it with --overwrite, or give another" in ended.error_lines[0]
    ended = run_here(capsys, *command, "--overwrite")
    assert ended.code == 2
    assert "there is no dhrd.json from it" in ended.error_lines[0]
    (out / "dhrd.json").write_text('{"kind": "onnx"}')
    assert run_here(capsys, *command, "--overwrite").code == 0
    assert sorted(path.name for path in out.iterdir() if path.suffix in ("", ".onnx")) == ["model.onnx", "old"]


@pytest.mark.usefixtures("traced")
def test_an_export_in_another_format_is_replaced_whole(artifact: Path, tmp_path: Path) -> None:
    """Its graph would go on to answer as the old model, beside the new one's labels."""
    older = {
        "dhrd.json": '{"kind": "export"}',
        "openvino_model.xml": "old",
        "openvino_model.bin": "old",
        "notes": "kept",
    }
    for name, content in older.items():
        (tmp_path / name).write_text(content)
    export_classifier(artifact, tmp_path, rows_of(artifact), overwrite=True)
    there = {path.name for path in tmp_path.iterdir()}
    assert {"model.onnx", "notes"} <= there
    assert not there & {"openvino_model.xml", "openvino_model.bin"}


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"settings": ExportSettings(weight_type="int4")},
            ConfigError,
            "`weight_type=int4`: unknown; give float32 or int8",
        ),
        ({"examples": []}, DataError, "there are no rows to compare the export with its artifact on; give `data` SPEC"),
    ],
)
def test_refusals(
    artifact: Path, tmp_path: Path, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        export_classifier(artifact, tmp_path / "out", **{"examples": rows_of(artifact)} | options)
    assert not list(tmp_path.iterdir())


def test_the_artifact_is_never_the_place(artifact: Path) -> None:
    with pytest.raises(ConfigError, match="is the artifact itself"):
        export_classifier(artifact, artifact, rows_of(artifact), overwrite=True)
    with pytest.raises(ConfigError, match="or contains it"):
        export_classifier(artifact, artifact.parent, rows_of(artifact), overwrite=True)
    assert (artifact / "model.safetensors").is_file()


def test_a_student_without_a_classifier_and_an_unknown_format(
    tiny_backbone: Path, artifact: Path, tmp_path: Path, capsys: Capsys
) -> None:
    config = make_config(tiny_backbone, tmp_path, "training.num_epochs=1", "loss.classification_weight=0")
    student = dhrd.train(config).output_dir
    ended = run_here(capsys, "export", "--model", student, "--output", tmp_path / "onnx")
    assert ended.code == 2
    assert "it has no classifier" in ended.error_lines[0]
    ended = run_here(capsys, "export", "--model", artifact, "--output", tmp_path / "onnx", "--format", "gguf")
    assert ended.code == 2
    assert "--format gguf: unknown; give onnx" in ended.error_lines[0]


def test_without_the_extra_it_says_how_to_install_it(
    artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def require(module: str, *, extra: str) -> Any:
        raise dhrd.MissingExtra(f"this needs `{module}`, which is not installed: pip install 'dhrd[{extra}]'")

    monkeypatch.setattr(OnnxForward, "write", lambda *_, **__: require("onnxscript", extra="onnx"))
    with pytest.raises(dhrd.MissingExtra, match=r"pip install 'dhrd\[onnx\]'"):
        export_classifier(artifact, tmp_path / "out", rows_of(artifact))
    assert not list(tmp_path.iterdir())


def test_the_benchmark_runs_it_as_a_contender(artifact: Path, exported: Path) -> None:
    settings = Settings(against=("onnx",), exports={"onnx": exported}, repeats=1, warmup_rows=2, latency_rows=2)
    found = benchmark(artifact, rows_of(artifact), settings, device="cpu", dtype="float32")
    assert found.contenders["onnx"].label_agreement == 1
    assert found.contenders["onnx"].dtype == "float32"
