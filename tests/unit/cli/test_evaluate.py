"""`dhrd evaluate`: what is refused before a model is loaded. Its figures: `unit/evaluation`, `contract/test_cli.py`."""

from __future__ import annotations

from pathlib import Path

import pytest

from dhrd.cli.evaluate import rows_named
from dhrd.inference.classifier import Classifier
from helpers.artifacts import save_tiny
from helpers.runs import run_here

Capsys = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "no model given; use --model DIR, a directory written by `dhrd train`"),
        (("--model", "a", "--checkpoint", "b"), "--model a and --checkpoint b are the same option; give one of"),
        (("--model", "a", "--plot", "p.svg"), "--plot p.svg needs --mode cascade, got classifier; leave it"),
    ],
)
def test_options_that_contradict_each_other(capsys: Capsys, flags: tuple[str, ...], message: str) -> None:
    ended = run_here(capsys, "evaluate", *flags)
    assert ended.code == 2
    assert ended.error_lines[0].startswith(f"dhrd: error: {message}")


def test_checkpoint_is_another_name_of_model(capsys: Capsys, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    messages = [run_here(capsys, "evaluate", flag, tmp_path / "a").error_lines for flag in ("--model", "--checkpoint")]
    assert messages[0] == messages[1]
    assert len(messages[0]) == 1


def test_outputs_are_checked_before_the_model_is_loaded(
    capsys: Capsys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Classifier, "from_pretrained", lambda *_, **__: pytest.fail("loaded"))
    model = save_tiny(tmp_path / "model")
    ended = run_here(capsys, "evaluate", "--model", model, "--json", tmp_path / "m.csv")
    assert ended.code == 2
    assert "m.csv: the output is JSON" in ended.error_lines[0]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--threshold", "0.5"), "--threshold needs --mode cascade, got classifier"),
        (("--mode", "cot", "--target-accuracy", "0.5"), "--target-accuracy needs --mode cascade, got cot"),
        (("--mode", "cot", "--dev-data", "x"), "--dev-data needs --mode cascade, got cot"),
        (("--mode", "cascade", "--threshold", "0.5", "--dev-data", "x"), "--dev-data is for choosing a threshold"),
        (("--mode", "all"), "--mode all: unknown; give classifier, cot or cascade"),
    ],
)
def test_flags_of_another_mode_are_named_as_they_were_given(
    capsys: Capsys, tmp_path: Path, flags: tuple[str, ...], message: str
) -> None:
    ended = run_here(capsys, "evaluate", "--model", save_tiny(tmp_path / "model"), *flags)
    assert ended.code == 2
    assert ended.error_lines[0].startswith(f"dhrd: error: {message}")


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (None, "the run's own data, test"),
        ("hub:org/mail", "hub:org/mail, test"),
        ("superglue:cb", "superglue:cb, test"),
        ("policy_desk:rows=9", "policy_desk:rows=9, test"),
        ("dev.csv", "dev.csv"),
        ("-", "-"),
    ],
)
def test_a_file_is_told_without_a_split(data: str | None, named: str) -> None:
    assert rows_named(data, "test") == named
