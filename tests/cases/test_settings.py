"""Settings that the parser, the range checks or the operating system cannot take end in one line each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dhrd.config import load_config
from dhrd.data.policy_desk import PolicyDesk
from dhrd.data.readers import read_file
from dhrd.errors import ConfigError, DataError, DhrdError
from dhrd.inference.classifier import Classifier
from helpers.runs import Recorder, Stop, flags, make_config, run_here, settings, write_rows

CAPTURE = pytest.CaptureFixture[str]


def refusal(*overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(overrides=overrides)
    assert len(str(caught.value)) <= 300
    return str(caught.value)


DEEP = "[" * 3000


BOMB = "[&a [x,x,x,x,x,x,x,x,x,x], " + ", ".join(
    f"&{name} [{','.join(['*' + before] * 10)}]" for before, name in zip("abcdefg", "bcdefgh", strict=True)
) + "]"  # fmt: skip


LEVELS = ", ".join(
    f"{name}: &{name} {{<<: [{', '.join(['*' + before] * 10)}]}}"
    for before, name in zip("abcdefg", "bcdefgh", strict=True)
)


MERGES = f"{{a: &a {{{', '.join(f'k{n}: 1' for n in range(10))}}}, {LEVELS}}}"


VALUES = {
    "data.train=" + DEEP: "not valid YAML",
    "data.columns=" + "{a: " * 3000: "not valid YAML",
    "data.train=" + "[" * 200 + "]" * 200: "lists nested",
    "data.labels=" + BOMB: "100,000 values",
    "data.labels=&a [*a]": "values",
    "data.columns=" + MERGES: "100,000 values",
    'seed=!!int ""': "not valid YAML",
    "seed=!!int x": "not valid YAML",
    "data.chat=!!bool abc": "not valid YAML",
    "seed=!!float ''": "not valid YAML",
    "seed=!!timestamp abc": "not valid YAML",
    "seed=!!binary é": "not valid YAML",
    "seed=!!python/object/apply:os.system [ls]": "not valid YAML",
    "data.labels={[a]: 1}": "not valid YAML",
    "seed=2026-13-45": "not valid YAML",
    "seed=*nothing": "not valid YAML",
    "seed=1e30": "seed: ",
    "seed=18446744073709551616": "seed: ",
    "seed=" + "9" * 5000: "",
    "seed=-1": "seed: ",
    "seed=yes": "a boolean is not a number",
    "loss.class_weights={a: yes, b: 2}": "a boolean is not a number",
    "seed=.nan": "seed: ",
    "teacher.seed=1e30": "teacher.seed: ",
    "data.train_limit=1e30": "data.train_limit: ",
    "data.max_input_tokens=99999999999": "data.max_input_tokens: ",
    "data.validation_limit=.inf": "data.validation_limit: ",
    "model.lora.r=1e30": "model.lora.r: ",
    "model.lora.r=2000000000": "model.lora.r: ",
    "model.freeze_layers=1e30": "model.freeze_layers: ",
    "model.num_labels=1e30": "model.num_labels: ",
    "training.num_epochs=1e30": "training.num_epochs: ",
    "training.warmup_steps=1e30": "training.warmup_steps: ",
    "training.weight_decay=.inf": "training.weight_decay: ",
    "training.learning_rate=.nan": "training.learning_rate: ",
    'output_dir="a\\0b"': "NUL",
    'data.train="a\\0b"': "NUL",
    'data.labels=["a", "b\\0"]': "NUL",
    'data.columns={"a\\0b": c}': "NUL",
    'output_dir="a\\ud800"': "half a character",
    'data.labels=["a", "\\udc80"]': "half a character",
    "model=5": "model",
    "1=2": "1",
    "data={1: 2}": "data",
    "=3": "section.key=value",
    "..=3": "",
    "model.lora.r.x=3": "",
}


@pytest.mark.parametrize(("override", "part"), VALUES.items(), ids=lambda text: text[:30])
def test_a13_what_no_setting_can_be(override: str, part: str) -> None:
    """A13: tracebacks of the parser, of range checks and of the operating system."""
    assert part in refusal(override)


@pytest.mark.parametrize("override", VALUES, ids=lambda text: text[:30])
def test_a13_the_same_in_a_file(tmp_path: Path, override: str) -> None:
    """A13: from a YAML file."""
    name, _, value = override.partition("=")
    path = tmp_path / "config.yaml"
    section, _, key = name.partition(".")
    path.write_text(f"{section}:\n  {key}: {value}\n" if key else f"{section}: {value}\n", encoding="utf-8")
    with pytest.raises(ConfigError):
        load_config(path)


@pytest.mark.parametrize(
    "content", [b"\xff\xfe", b"a: b: c", b"- 1", b"\0", b"a: &x [*x]", b"%YAML 9", b"!!set {a, b}"]
)
def test_a13_files_that_are_no_config(tmp_path: Path, capsys: CAPTURE, content: bytes) -> None:
    """A13: the public command, exit code 2, one line."""
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    ended = run_here(capsys, "config", "show", path)
    assert (ended.code, len(ended.error_lines)) == (2, 1), ended.err


def test_a13_many_problems_are_a_line_each() -> None:
    """A13: as many as there are, none cut off by another."""
    overrides = [f"training.{name}=-1" for name in ("num_epochs", "batch_size", "learning_rate", "clip_norm")]
    with pytest.raises(ConfigError) as caught:
        load_config(overrides=[*overrides, "data.labels=[x]", "seed=x", "model.dropout=7"])
    lines = str(caught.value).splitlines()
    assert len(lines) == 7
    assert all(len(line) <= 300 for line in lines)


def test_a13_a_directory_that_the_system_refuses(capsys: CAPTURE, tiny_backbone: Path, tmp_path: Path) -> None:
    """A13: a name that is too long."""
    write_rows(tmp_path)
    given = settings(tiny_backbone, tmp_path)[:-1]
    ended = run_here(capsys, "train", "--device", "cpu", *flags(given), "--set", f"output_dir={'x' * 300}")
    assert ended.code in (1, 2), ended.err
    assert len(ended.error_lines) == 1
    assert "File name too long" in ended.error_lines[0]


@pytest.mark.parametrize("uri", ["postgresql://ann:hush@host/db", "oracle://ann:hush@host/db", "nonsense://x"])
def test_a13_a_tracker_without_driver(capsys: CAPTURE, tiny_backbone: Path, tmp_path: Path, uri: str) -> None:
    """A13: a database whose driver is not installed; the line hides the password (A3)."""
    pytest.importorskip("mlflow")
    write_rows(tmp_path)
    given = settings(tiny_backbone, tmp_path, "tracking.report_to=mlflow", f"tracking.uri={uri}")
    ended = run_here(capsys, "train", "--device", "cpu", *flags(given))
    assert ended.code == 2, ended.err
    assert len(ended.error_lines) == 1
    assert "tracking.uri: " in ended.error_lines[0]
    assert "hush" not in ended.err


def test_a_key_of_the_policy_desk_given_twice_is_refused() -> None:
    with pytest.raises(DataError, match="rows is given twice"):
        PolicyDesk.parse("rows=10,rows=20")
    assert PolicyDesk.parse("rows=10,hops=2").rows == 10


def test_a_warm_up_that_takes_every_update_is_said(
    tiny_backbone: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One update at rate 0 teaches nothing; warm-up steps above all updates never reach the rate."""
    from dhrd.run import train as run

    one = make_config(tiny_backbone, tmp_path / "a", "training.batch_size=64", "training.num_epochs=1")
    run.train(one, device="cpu")
    assert "1 of 1 updates" in caplog.text
    assert "so nothing is learned" in caplog.text
    caplog.clear()
    run.train(make_config(tiny_backbone, tmp_path / "b", "training.warmup_steps=99"), device="cpu")
    assert "never reaches its peak" in caplog.text
    caplog.clear()
    run.train(make_config(tiny_backbone, tmp_path / "c", "training.batch_size=4"), device="cpu")
    assert "warm-up" not in caplog.text


def test_settings_may_be_changed_when_going_on_that_decide_no_weight(
    capsys: CAPTURE, tiny_backbone: Path, tmp_path: Path
) -> None:
    """A3: a secret that no file keeps is given again with --set, over the run's own settings."""
    from dhrd.run import train as run

    config = make_config(tiny_backbone, tmp_path, "training.batch_size=4", "training.save_steps=2")
    with pytest.raises(Stop):
        run.train(config, device="cpu", callbacks=[Recorder(fail_at=5)])
    given: tuple[Any, ...] = ("train", "--checkpoint", tmp_path / "out", "--device", "cpu")
    refused = run_here(capsys, *given, "--set", "training.learning_rate=1")
    assert refused.code == 2
    assert "training.learning_rate: 5e-05 there, 1.0 now" in refused.err
    ended = run_here(capsys, *given, "--set", "tracking.run_name=again")
    assert ended.code == 0, ended.err
    assert "resuming after step 4" in ended.err


LONG = "x" * 300


@pytest.mark.parametrize(
    "given",
    [
        ("predict", "--model", LONG, "--input", "{rows}", "--output", "p.jsonl"),
        ("predict", "--model", ".", "--input", "{rows}", "--output", f"{LONG}.jsonl"),
        ("evaluate", "--model", LONG),
        ("export", "--model", ".", "--output", LONG),
        ("compare", LONG, LONG),
        ("compare", "{rows}", "{rows}", "--json", LONG),
        ("benchmark", "--model", ".", "--onnx", LONG, "--against", "onnx"),
        ("train", "--set", "data.train={rows}", "--set", f"output_dir={LONG}"),
        ("train", "--set", f"data.train={LONG}.jsonl"),
        ("train", "--set", f"data.train={LONG}.parquet"),
        ("train", "--set", "data.train={rows}", "--set", f"model.name_or_path=scratch:{LONG}"),
        ("train", "--checkpoint", LONG),
        ("config", "show", LONG),
        ("rationales", "convert", "{rows}", "--output", f"{LONG}.jsonl"),
        ("rationales", "audit", "{rows}", "--data", f"{LONG}.jsonl"),
    ],
    ids=lambda given: " ".join(given).replace(LONG, "LONG")[:60],
)
def test_a13_names_that_the_system_refuses(
    capsys: CAPTURE, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: tuple[str, ...]
) -> None:
    """A13: whatever command and option takes the name, exit code 2 and one line."""
    monkeypatch.chdir(tmp_path)
    train, _ = write_rows(tmp_path)
    ended = run_here(capsys, *(part.format(rows=train) for part in given))
    assert (ended.code, len(ended.error_lines)) == (2, 1), ended.err
    assert "Errno" not in ended.err


@pytest.mark.parametrize("kind", [".jsonl", ".csv", ".json", ".parquet", ""])
def test_a13_a_name_that_the_system_refuses_in_python(kind: str) -> None:
    """A13: the functions raise our errors."""
    with pytest.raises(DhrdError):
        list(read_file(Path(LONG + kind)))
    with pytest.raises(DhrdError):
        Classifier.from_pretrained(LONG + kind)
