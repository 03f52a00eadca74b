"""`dhrd update`, as its page has it."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from dhrd.run.update import update as module
from dhrd.run.update.gate import UpdateGate
from helpers.rows import write_jsonl
from helpers.runs import rows, run_here
from helpers.updates import train_old, write_new

PAGE = Path(__file__).parents[3] / "docs" / "updating.md"
Capsys = pytest.CaptureFixture[str]


@pytest.fixture
def desk(tiny_backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with what the page's commands name."""
    train_old(tiny_backbone, tmp_path, f"output_dir={tmp_path / 'october'}")
    (tmp_path / "train.jsonl").rename(tmp_path / "old.jsonl")
    (tmp_path / "validation.jsonl").rename(tmp_path / "old_test.jsonl")
    write_new(tmp_path / "november.jsonl")
    write_jsonl(tmp_path / "november_test.jsonl", rows(12)[6:])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def commands() -> list[list[str]]:
    found = re.findall(r"^dhrd (update(?:.*\\\n)*.*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return [shlex.split(command.replace("\\\n", " ")) for command in found]


@pytest.mark.parametrize("number", [0, 1])
def test_the_commands_of_the_page(number: int, desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capsys) -> None:
    monkeypatch.setattr(UpdateGate, "holds", property(lambda self: True))
    assert len(commands()) == 2
    ended = run_here(capsys, *commands()[number], "--device", "cpu")
    assert ended.code == 0, ended.err
    assert json.loads((desk / "november" / "update.json").read_text())["max_regression"] == 0.01
    assert "the updated classifier is in november" in ended.out
    for told in ("accuracy, updated with", "fixed", "broken", "new rows: ", "old rows: "):
        assert told in ended.out


def test_what_is_not_published_ends_with_3(desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capsys) -> None:
    monkeypatch.setattr(UpdateGate, "holds", property(lambda self: False))
    ended = run_here(capsys, *commands()[0], "--device", "cpu")
    assert ended.code == 3, ended.err
    assert "not published" in ended.out and (desk / "november.rejected" / "dhrd.json").is_file()
    assert not (desk / "november").exists()


def test_an_interrupted_update_says_how_it_goes_on(desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capsys) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "train", interrupted)
    ended = run_here(capsys, *commands()[0], "--device", "cpu")
    assert ended.code == 130 and "run the same command again to continue" in ended.err


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--replay-share", "1.5"], "--replay-share 1.5: give a share"),
        (["--set", "data.labels=[a, b]"], "data.labels: an update keeps"),
        (["--eval-old", "absent.jsonl"], "absent.jsonl"),
        (["--output", "october"], "--output october: is not empty"),
        (["--model", "november.jsonl"], "no such directory"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], problem: str, desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capsys
) -> None:
    monkeypatch.setattr(module, "train", lambda *_, **__: pytest.fail("trained"))
    ended = run_here(capsys, *commands()[0], *arguments)
    assert ended.code == 2 and problem in ended.err, ended.err
    assert len(ended.error_lines) == 1
