"""Runs: what is trained and lost, what a backbone lacks, trackers that fail, secrets in what is written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import processors
from transformers import AutoTokenizer, LlamaForSequenceClassification

from dhrd import Classifier
from dhrd.config import ModelSettings, load_config
from dhrd.config.model import LoraSettings
from dhrd.errors import ConfigError, ModelError
from dhrd.model.backbone import Backbone, load_backbone
from dhrd.run import train as run
from dhrd.training import run_dir
from dhrd.training.step import train_step
from dhrd.training.trackers.mlflow import THIS_PROCESS
from helpers.models import make_batch, make_causal_lm, make_model, parameters_of, step_of
from helpers.models import rows as encoded_rows
from helpers.rows import make_tokenizer
from helpers.runs import Recorder, Stop, make_config, read_jsonl, rows, run_here, save_backbone, settings, write_rows

CAPTURE = pytest.CaptureFixture[str]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("rate", [5e-5, 1e-5])
def test_f9_every_weight_moves_whatever_the_artifacts_dtype(dtype: torch.dtype, rate: float) -> None:
    """F9: at 1e-5 all but 307 of 4,608 weights stood still in bf16; they are kept in fp32 until they are saved."""
    backbone = Backbone(make_causal_lm("llama").to(dtype), make_tokenizer(), "x")
    model = make_model(backbone=backbone, dtype=str(dtype).removeprefix("torch."))
    before = parameters_of(model)
    state = step_of(model, learning_rate=rate)
    for step in range(1, 9):
        train_step(state, [make_batch(encoded_rows(12), model)], step)
    after = parameters_of(model)
    inner = [name for name in before if "proj" in name]
    moved = sum(int((before[name] != after[name]).sum()) for name in inner)
    total = sum(before[name].numel() for name in inner)
    assert moved > 0.99 * total, (moved, total)


def test_f9_the_artifact_is_in_the_dtype_asked_for(tiny_backbone: Path, tmp_path: Path) -> None:
    """F9: trained in fp32, saved in bf16; from Python with a loaded backbone too."""
    config = make_config(tiny_backbone, tmp_path, "model.dtype=bfloat16", "training.num_epochs=1")
    backbone = load_backbone(config.model)
    run.train(config, device="cpu", backbone=backbone)
    assert next(backbone.model.parameters()).dtype == torch.float32
    assert {tensor.dtype for tensor in load_file(tmp_path / "out" / "model.safetensors").values()} == {torch.bfloat16}


def test_f9_under_lora_the_frozen_weights_keep_their_dtype() -> None:
    """F9: they do not move, so that nothing is lost; the adapters are fp32."""
    causal_lm = make_causal_lm("llama").bfloat16()
    model = make_model(backbone=Backbone(causal_lm, make_tokenizer(), "x"), dtype="bfloat16", lora=LoraSettings())
    kinds = {p.requires_grad: p.dtype for name, p in model.named_parameters() if "proj" in name}
    assert kinds == {False: torch.bfloat16, True: torch.float32}


@pytest.mark.parametrize(
    ("names", "unknown"),
    [
        (("q_proj", "v_prj"), "v_prj"),
        (("q_proj", "v_prj", "kproj"), "v_prj, kproj"),
        (("proj",), "proj"),
        (("q_proj", "lm_head"), "lm_head"),
        (("q_proj", "embed_tokens"), "embed_tokens"),
        (("q_proj", ".*"), r"\.\*"),
    ],
)
def test_f10_unknown_targets_are_named_though_another_exists(names: tuple[str, ...], unknown: str) -> None:
    """F10: `[q_proj, v_prj]` trained q_proj alone."""
    with pytest.raises(ModelError, match=rf"model\.lora\.target_modules: {unknown}: no such linear layers; .*v_proj"):
        make_model("llama", lora=LoraSettings(target_modules=names))


@pytest.mark.parametrize("name", ["self_attn.q_proj", "layers.1.self_attn.q_proj", "model.layers.0.self_attn.q_proj"])
def test_f10_longer_names_are_known(name: str) -> None:
    """F10: names as peft takes them."""
    model = make_model("llama", lora=LoraSettings(target_modules=(name,)))
    assert all("q_proj" in found for found in model.trained_state() if "lora_" in found)


def classifier_checkpoint(directory: Path, *, tied: bool = False) -> Path:
    causal_lm = make_causal_lm("llama", tie_word_embeddings=tied)
    causal_lm.config.num_labels = 3
    LlamaForSequenceClassification(causal_lm.config).save_pretrained(directory)
    make_tokenizer().save_pretrained(directory)
    return directory


def test_f11_a_classifier_has_no_reasoning_head(capsys: CAPTURE, tmp_path: Path) -> None:
    """F11: its reasoning head began from random weights."""
    directory = classifier_checkpoint(tmp_path / "classifier")
    write_rows(tmp_path)
    given = settings(directory, tmp_path, "training.num_epochs=1", "data.max_sequence_tokens=256")
    given += ["data.max_input_tokens=128"]
    arguments = [part for one in given for part in ("--set", one)]
    ended = run_here(capsys, "train", "--device", "cpu", *arguments)
    assert ended.code == 2, ended.err
    assert "has no weights for the reasoning head" in ended.error_lines[0]
    baseline = run_here(capsys, "train", "--device", "cpu", *arguments, "--set", "loss.reasoning_weight=0")
    assert baseline.code == 0, baseline.err  # it uses no reasoning head


def test_f11_a_tied_head_is_there(tmp_path: Path) -> None:
    """F11: where the head is the embeddings, a classifier's checkpoint lacks nothing."""
    loaded = load_backbone(ModelSettings(name_or_path=str(classifier_checkpoint(tmp_path, tied=True))))
    assert not loaded.lacks_head


def test_f11_weights_of_the_body_that_are_not_there(tmp_path: Path) -> None:
    """F11: the same for any weight."""
    save_backbone(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    del state["model.layers.1.mlp.up_proj.weight"]
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks 1 of .* model\.layers\.1\.mlp\.up_proj\.weight, .* random"):
        load_backbone(ModelSettings(name_or_path=str(tmp_path)))


def test_f11_an_artifact_as_backbone_brings_its_reasoning_head(tmp_path: Path) -> None:
    """F11: an untied head lies in reasoning_head.safetensors."""
    make_causal_lm("llama", tie_word_embeddings=False).save_pretrained(tmp_path / "base")
    make_tokenizer().save_pretrained(tmp_path / "base")
    config = make_config(tmp_path / "base", tmp_path, "training.num_epochs=1", "data.max_sequence_tokens=256",
                         "data.max_input_tokens=128")  # fmt: skip
    run.train(config, device="cpu")
    head = load_file(tmp_path / "out" / "reasoning_head.safetensors")
    loaded = load_backbone(ModelSettings(name_or_path=str(tmp_path / "out")))
    assert not loaded.lacks_head
    assert torch.equal(loaded.model.get_output_embeddings().weight, head["lm_head.weight"])
    (tmp_path / "out" / "reasoning_head.safetensors").write_bytes(b"junk")
    with pytest.raises(ModelError, match=r"reasoning_head\.safetensors: damaged, or of another model"):
        load_backbone(ModelSettings(name_or_path=str(tmp_path / "out")))


class Fails(Recorder):
    """A tracker whose methods fail."""

    def __init__(self, *names: str, error: Exception | None = None) -> None:
        super().__init__()
        self.calls: list[str] = []
        self._names, self._error = names, error or ConnectionError("server https://ann:hush@host gone\nsecond line")

    def log(self, values: Mapping[str, float], step: int) -> None:
        self._call("log")

    def finish(self, artifact: Path | None) -> None:
        self._call("finish")

    def abort(self, status: str) -> None:
        self._call("abort")

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if name in self._names:
            raise self._error


@pytest.mark.parametrize("names", [("log",), ("log", "abort"), ("finish",), ("finish", "abort")])
def test_f15_a_trackers_failure_does_not_end_the_run(
    tiny_backbone: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    names: tuple[str, ...],
) -> None:
    """F15: a server gone at step 2, or at the end, ended the run in a traceback and left checkpoints behind."""
    tracker = Fails(*names)
    monkeypatch.setattr("dhrd.training.trackers.opened.AccelerateTracker", lambda *_: tracker)
    config = make_config(tiny_backbone, tmp_path, "tracking.report_to=tensorboard", "training.batch_size=4")
    assert run.train(config, device="cpu").steps == 10
    assert [row["step"] for row in read_jsonl(tmp_path / "out" / "metrics.jsonl") if "loss" in row] == [*range(1, 11)]
    assert not (tmp_path / "out" / "checkpoints").exists()
    warnings = [r.getMessage() for r in caplog.records if "it is no longer used" in r.getMessage()]
    assert len(warnings) == 1
    assert "hush" not in warnings[0]
    assert tracker.calls.count("log") == (1 if "log" in names else 12)
    assert tracker.calls[-1] == "abort"  # what it holds open in this process is closed


def test_f15_a_tracker_that_works_is_finished(
    tiny_backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F15: the control."""
    tracker = Fails()
    monkeypatch.setattr("dhrd.training.trackers.opened.AccelerateTracker", lambda *_: tracker)
    run.train(make_config(tiny_backbone, tmp_path, "tracking.report_to=tensorboard"), device="cpu")
    assert tracker.calls[-1] == "finish"
    assert "abort" not in tracker.calls


def test_f15_mlflows_server_is_gone_in_the_middle(
    tiny_backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """F15: with the real mlflow, and the next run of the process is a run of its own."""
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setattr(THIS_PROCESS, "is_configured", False)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")

    def gone(*_: Any, **__: Any) -> None:
        raise mlflow.exceptions.MlflowException("API request failed: connection refused")

    monkeypatch.setattr(mlflow, "log_metrics", gone)
    tracking = ["tracking.report_to=mlflow", f"tracking.uri=file:{tmp_path / 'mlruns'}", "training.num_epochs=1"]
    run.train(make_config(tiny_backbone, tmp_path, *tracking), device="cpu")
    assert caplog.text.count("mlflow failed at step 1 (API request failed: connection refused)") == 1
    assert mlflow.active_run() is None
    assert (tmp_path / "out" / "dhrd.json").is_file()


class LogsAlone:
    def log(self, values: Any, step: int) -> None:
        pass


@pytest.mark.parametrize(
    ("callbacks", "part"),
    [
        ([print], r"callbacks\[0\]: .*print.* has no log, state, finish, abort"),
        ([Recorder(), LogsAlone()], r"callbacks\[1\]: .*LogsAlone.* has no state, finish, abort"),
        ([Recorder], r"callbacks\[0\]: .*Recorder.* is a class; give an instance of it"),
        (Recorder(), "callbacks: .*Recorder.* is not a list"),
        (print, "callbacks: .* is not a list"),
        ("abc", "callbacks: 'abc' is not a list"),
        ([None], r"callbacks\[0\]: None has no log"),
    ],
)
def test_f15_callbacks_are_checked_before_training(tmp_path: Path, callbacks: Any, part: str) -> None:
    """F15: an AttributeError about `abort` hid the first error."""
    config = load_config(overrides=["model.name_or_path=nowhere", f"output_dir={tmp_path / 'out'}"])
    with pytest.raises(ConfigError, match=part):
        run.train(config, device="cpu", callbacks=callbacks)
    assert not (tmp_path / "out").exists()


def test_f15_a_callback_that_fails_at_the_end_leaves_nothing_behind(tiny_backbone: Path, tmp_path: Path) -> None:
    """F15: its own error is raised, after the artifact is whole and every other tracker was told."""
    other, config = Recorder(), make_config(tiny_backbone, tmp_path)
    with pytest.raises(ConnectionError):
        run.train(config, device="cpu", callbacks=[Fails("finish"), other])
    assert other.ended == [tmp_path / "out"]
    assert not (tmp_path / "out" / "checkpoints").exists()
    assert Classifier.from_pretrained(tmp_path / "out", device="cpu").predict(["case 1: keep"])


def test_f15_a_callback_that_fails_while_told_of_a_failure_hides_nothing(tiny_backbone: Path, tmp_path: Path) -> None:
    """F15: the first error is the one that is raised."""
    other = Recorder()
    with pytest.raises(ZeroDivisionError):
        run.train(
            make_config(tiny_backbone, tmp_path),
            device="cpu",
            callbacks=[Fails("log", "abort", error=ZeroDivisionError()), other],
        )
    assert other.ended == ["FAILED"]


@pytest.mark.parametrize("setting", ["selection=best", "patience=1", "calibrate=true"])
def test_f17_given_validation_rows_serve_choices(tiny_backbone: Path, tmp_path: Path, setting: str) -> None:
    """F17: they were refused, as only the config was looked at."""
    config = make_config(
        tiny_backbone, tmp_path, "data.validation=null", f"training.{setting}", "training.eval_steps=1"
    )
    with pytest.raises(ConfigError, match=r"held-out rows( to fit the temperature on)?: set data.dev_share"):
        run.train(config, device="cpu")
    result = run.train(config, device="cpu", validation_dataset=rows(9))
    assert result.metrics["num_examples"] == 9
    assert result.metrics["selected_on"] is True


def test_f17_the_command_refuses_before_it_reads_anything(capsys: CAPTURE, tmp_path: Path) -> None:
    """F17: without rows in Python it is still said at once."""
    given = ("--set", "training.selection=best", "--set", f"data.train={tmp_path / 'none.jsonl'}")
    ended = run_here(capsys, "train", *given, "--set", f"output_dir={tmp_path / 'out'}")
    assert ended.code == 2
    assert "need held-out rows" in ended.error_lines[0]


@pytest.mark.parametrize("in_config", [True, False])
def test_f18_a_padding_token_without_an_embedding(capsys: CAPTURE, tmp_path: Path, in_config: bool) -> None:
    """F18: `<pad>` at 262 beside 262 rows was an AssertionError of torch."""
    tokens = make_tokenizer()
    pad = tokens.pad_token_id
    causal_lm = make_causal_lm("llama", vocab_size=pad, pad_token_id=None)
    causal_lm.save_pretrained(tmp_path / "base")
    tokens.save_pretrained(tmp_path / "base")
    if in_config:
        path = tmp_path / "base" / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"pad_token_id": pad}))
    write_rows(tmp_path)
    arguments = [part for one in settings(tmp_path / "base", tmp_path) for part in ("--set", one)]
    ended = run_here(capsys, "train", "--device", "cpu", *arguments)
    assert ended.code == 2, ended.err
    assert len(ended.error_lines) == 1
    assert f"pad token '<pad>' is number {pad}, but the embeddings have {pad} rows" in ended.error_lines[0]


def test_f18_a_row_with_a_token_without_an_embedding(tmp_path: Path) -> None:
    """F18: an added token that only a text holds; the models whose unused tokens have none stay usable."""
    tokens = make_tokenizer()
    size = len(tokens)
    tokens.add_tokens(["<image>"], special_tokens=True)
    make_causal_lm("llama", vocab_size=size).save_pretrained(tmp_path / "base")
    tokens.save_pretrained(tmp_path / "base")
    config = make_config(tmp_path / "base", tmp_path, "data.max_sequence_tokens=256", "data.max_input_tokens=128")
    given = rows(20)
    run.train(config, device="cpu", train_dataset=given)
    given[3]["input_text"] += " <image> !"
    with pytest.raises(ModelError, match=rf"row r3 has the token '<image>', number {size}, .* have {size} rows"):
        run.train(config, device="cpu", train_dataset=given, overwrite=True)


def test_f18_a_tokenizer_that_ends_every_text_in_its_padding_token(tmp_path: Path) -> None:
    """F18: every row was refused with "remove it from the text", where it is not."""
    save_backbone(tmp_path / "base", pad="<eos>")
    tokens = AutoTokenizer.from_pretrained(tmp_path / "base")
    ending = [(tokens.eos_token, tokens.eos_token_id)]
    tokens.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {tokens.eos_token}", special_tokens=ending
    )
    tokens.save_pretrained(tmp_path / "base")
    config = make_config(tmp_path / "base", tmp_path)
    with pytest.raises(ModelError, match="the tokenizer ends every text with '<eos>' and also pads with it"):
        run.train(config, device="cpu")


SECRETS = [
    "teacher.base_url=https://ann:hush@host/v1?key=hush",
    "teacher.name=openai:x",
    "tracking.uri=postgresql://ann:hush@host/db",
]


def test_a3_no_secret_is_in_any_file_of_a_run(tiny_backbone: Path, tmp_path: Path) -> None:
    """A3: run.json of checkpoints and artifact, states, logs, the card."""
    config = make_config(tiny_backbone, tmp_path, *SECRETS, "training.batch_size=4", "training.save_steps=2")
    with pytest.raises(ZeroDivisionError):
        run.train(config, device="cpu", callbacks=[Fails("log", error=ZeroDivisionError())])
    checkpoints = tmp_path / "out" / "checkpoints" / "run.json"
    assert json.loads(checkpoints.read_text())["config"]["tracking"]["uri"] == "postgresql://***@host/db"
    assert without(b"hush", tmp_path / "out") >= 1
    run.train(config, device="cpu", checkpoint=tmp_path / "out")
    record = json.loads((tmp_path / "out" / "run.json").read_text(encoding="utf-8"))["config"]
    assert not {"tracking", "teacher"} & set(record)
    assert without(b"hush", tmp_path / "out") >= 8
    assert run_dir.read_run(tmp_path / "out") is not None


def without(secret: bytes, directory: Path) -> int:
    """How many files there are; none of them holds the secret."""
    files = [path for path in directory.rglob("*") if path.is_file()]
    assert [path for path in files if secret in path.read_bytes()] == []
    return len(files)


def test_a3_mlflow_gets_no_secret(tiny_backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A3: its params, and the artifact logged there."""
    pytest.importorskip("mlflow")
    monkeypatch.setattr(THIS_PROCESS, "is_configured", False)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    store = [f"tracking.uri=file:{tmp_path / 'mlruns'}", "tracking.report_to=mlflow", "training.num_epochs=1"]
    run.train(make_config(tiny_backbone, tmp_path, *SECRETS, *store), device="cpu")
    assert without(b"hush", tmp_path / "mlruns") > 20


def test_a3_going_on_asks_for_the_secret_again(
    capsys: CAPTURE, tiny_backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A3: an address that was kept without its password is not tried."""
    pytest.importorskip("mlflow")
    monkeypatch.setattr(THIS_PROCESS, "is_configured", False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    config = make_config(tiny_backbone, tmp_path, *SECRETS, "training.batch_size=4")
    with pytest.raises(ZeroDivisionError):
        run.train(config, device="cpu", callbacks=[Fails("log", error=ZeroDivisionError())])
    given = ("train", "--checkpoint", tmp_path / "out", "--device", "cpu", "--set", "tracking.report_to=mlflow")
    ended = run_here(capsys, *given)
    assert ended.code == 2, ended.err
    assert "tracking.uri: postgresql://***@host/db was saved without its secret" in ended.error_lines[0]
    store = f"tracking.uri=file:{tmp_path / 'mlruns'}"
    assert run_here(capsys, *given, "--set", store).code == 0


def test_f15_going_on_in_another_store_begins_a_new_tracked_run(
    tiny_backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """F15: where a run is tracked may change between a run and its continuation."""
    pytest.importorskip("mlflow")
    monkeypatch.setattr(THIS_PROCESS, "is_configured", False)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    stores = [f"tracking.uri=file:{tmp_path / name}" for name in ("one", "two")]
    given = ["tracking.report_to=mlflow", "training.batch_size=4", "training.save_steps=2"]
    config = make_config(tiny_backbone, tmp_path, *given, stores[0])
    with pytest.raises(Stop):
        run.train(config, device="cpu", callbacks=[Recorder(fail_at=5)])
    run.train(make_config(tiny_backbone, tmp_path, *given, stores[1]), device="cpu", checkpoint=tmp_path / "out")
    assert "starting a new one" in caplog.text
    assert list((tmp_path / "two").rglob("model.safetensors"))
