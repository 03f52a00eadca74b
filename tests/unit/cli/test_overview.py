"""`dhrd` alone, `dhrd --help`, and what a shell completes."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from typing import Any

import pytest
import typer.main

from dhrd import __version__
from dhrd.cli import app, main
from dhrd.cli.overview import FIRST, JUDGE, OTHER, ROWS, USE
from helpers.runs import COMMAND, run_here

Capsys = pytest.CaptureFixture[str]


def test_alone_it_shows_what_one_needs_first_and_where_help_is(capsys: Capsys) -> None:
    ended = run_here(capsys)
    assert (ended.code, ended.out) == (2, "")
    first, *lines, last = ended.err.splitlines()
    assert first.endswith("To get started:")
    assert [line.split()[1] for line in lines] == list(FIRST)
    assert last == "All commands: dhrd --help; options of a command: dhrd COMMAND --help"


def test_what_one_needs_first_are_calls_that_parse() -> None:
    group: Any = typer.main.get_command(app)
    for name, call in FIRST.items():
        words = shlex.split(call)
        assert words[:2] == ["dhrd", name]
        with group.commands[name].make_context(name, words[2:]):
            pass


def test_every_command_is_under_a_heading(capsys: Capsys) -> None:
    out = run_here(capsys, "--help").out
    places = [out.index(f"\n{heading}:\n") for heading in (USE, ROWS, JUDGE, OTHER)]
    assert places == sorted(places)
    group: Any = typer.main.get_command(app)
    assert len(group.commands) > 10
    for name, command in group.commands.items():
        assert command.rich_help_panel in (USE, ROWS, JUDGE, OTHER), name
        assert out.count(f"\n  {name} ") == 1


def test_its_version(capsys: Capsys) -> None:
    assert run_here(capsys, "--version").out == f"dhrd {__version__}\n"


@pytest.mark.parametrize(("closed", "out"), [(">&-", ""), ("2>&-", f"dhrd {__version__}\n"), (">&- 2>&-", "")])
def test_a_closed_stream_is_no_error(closed: str, out: str) -> None:
    done = subprocess.run(f"{shlex.quote(COMMAND)} --version {closed}", shell=True, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, out, "")


def completions(line: str) -> list[str]:
    """What a shell is told to complete the last word of a line with."""
    script = "import sys; from dhrd.cli import main; main(); print('torch' in sys.modules)"
    words = shlex.split(line) + [""] * line.endswith(" ")
    asked = {"_DHRD_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    done = subprocess.run([sys.executable, "-c", script], env={**os.environ, **asked}, capture_output=True, text=True)
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("dhrd tra", ["train"]),
        ("dhrd rationales ", ["generate", "audit", "convert"]),
        ("dhrd train --ba", ["--batch-size"]),
        ("dhrd train --set training.mixed", ["training.mixed_precision="]),
        ("dhrd predict --on", ["--on-error"]),
    ],
)
def test_a_shell_completes_commands_flags_and_settings(line: str, expected: list[str]) -> None:
    assert completions(line) == expected


def test_the_script_for_a_shell_asks_this_command(capsys: Capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    with pytest.raises(SystemExit) as ended:  # the command line is put together anew, with the variable set
        main(["--show-completion", "bash"])
    assert ended.value.code == 0
    script = capsys.readouterr().out
    assert "_DHRD_COMPLETE=complete_bash" in script
    assert "complete -o default -F _dhrd_completion dhrd" in script
