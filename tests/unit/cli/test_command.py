"""What all commands share: flags that are settings, and errors in which arguments are told as flags."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import typer

from dhrd.cli.command import Command, SettingsCommand, given, in_flags, interruptible, stop
from dhrd.errors import ConfigError
from helpers.runs import run_here

FLAGS = {"max_new_tokens": "--max-new-tokens", "mode": "--mode", "set": "--set", "teacher__name": "--teacher"}


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("`mode` x: unknown", "--mode x: unknown"),
        ("give `max_new_tokens=5` or less", "give --max-new-tokens 5 or less"),
        ("`mode=`: unknown", "--mode: unknown"),
        ("of `mode=cascade`, and", "of --mode cascade, and"),
        ("`teacher.name` or `teacher.base_url`", "--teacher or `teacher.base_url`"),
        ("give `teacher.name=openai:MODEL`", "give --teacher openai:MODEL"),
        ("give `data.train=FILE`", "give --set data.train=FILE"),
        ("`lora` needs `quantization`; see `dhrd export`", "`lora` needs `quantization`; see `dhrd export`"),
        ("the file a`b` and mode", "the file a`b` and mode"),
    ],
)
def test_arguments_are_told_as_the_flags_of_a_command(message: str, expected: str) -> None:
    assert in_flags(message, FLAGS) == expected


def test_a_setting_stays_one_where_a_command_sets_none() -> None:
    assert in_flags("give `data.train=FILE`", {"mode": "--mode"}) == "give `data.train=FILE`"


class Small(SettingsCommand):
    """Two settings as flags."""

    settings = ("training.batch_size", "teacher.name")


def make_app(taken: dict[str, Any]) -> typer.Typer:
    app = typer.Typer(add_completion=False, rich_markup_mode=None)

    @app.command(cls=Small)
    def small(context: typer.Context, place: Path | None = None) -> None:
        taken.update(given(context), place=place)

    @app.command(cls=Command)
    def interrupted(max_new_tokens: int = 1) -> None:
        error = KeyboardInterrupt()
        error.add_note("`max_new_tokens` goes on")
        raise error

    @app.command(cls=Command)
    def fails(max_new_tokens: int = 1) -> None:
        raise ConfigError(f"`max_new_tokens` {max_new_tokens}: too few; leave `mode` out")

    return app


def run(app: typer.Typer, *arguments: str) -> None:
    app(arguments, standalone_mode=False)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ((), {}),
        (("--batch-size", "3"), {"training__batch_size": 3}),
        (("--teacher", "openai:x", "--batch-size", "4"), {"training__batch_size": 4, "teacher__name": "openai:x"}),
    ],
)
def test_settings_that_are_given_reach_the_command(flags: tuple[str, ...], expected: Mapping[str, Any]) -> None:
    taken: dict[str, Any] = {}
    run(make_app(taken), "small", *flags)
    assert taken == {**expected, "place": None}


def test_the_schema_says_what_a_settings_flag_means(capsys: pytest.CaptureFixture[str]) -> None:
    run(make_app({}), "small", "--help")
    shown = " ".join(capsys.readouterr().out.split())
    assert "Rows per process per micro-batch. [training.batch_size]" in shown
    assert shown.index("--place") < shown.index("--batch-size") < shown.index("--teacher") < shown.index("--help")


def test_a_home_directory_is_taken_in_paths(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    taken: dict[str, Any] = {}
    run(make_app(taken), "small", "--place", "~/a")
    assert taken["place"] == tmp_path / "a"


def test_an_error_names_the_flags_of_its_command_and_no_others() -> None:
    with pytest.raises(ConfigError) as error:
        run(make_app({}), "fails")
    assert str(error.value) == "--max-new-tokens 1: too few; leave `mode` out"


def test_notes_name_the_flags_too(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        run(make_app({}), "interrupted")
    assert end.value.code == 130
    assert capsys.readouterr().err == "dhrd: error: interrupted; --max-new-tokens goes on\n"


def test_an_end_is_one_line_with_its_notes(capsys: pytest.CaptureFixture[str]) -> None:
    error = ConfigError("no")
    error.add_note("nothing was written")
    with pytest.raises(SystemExit) as end:
        stop(str(error), error.exit_code, error)
    assert end.value.code == 2
    assert capsys.readouterr().err == "dhrd: error: no; nothing was written\n"


def test_every_command_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    from dhrd.cli import app

    group: Any = typer.main.get_command(app)
    seen = []
    for name, command in group.commands.items():
        for leaf in getattr(command, "commands", {name: command}).values():
            assert isinstance(leaf, Command), name
            seen.append(leaf.name)
    assert {"train", "show", "generate", "audit", "doctor"} <= set(seen)
    assert run_here(capsys, "evaluate", "--mode", "x").error_lines == [
        "dhrd: error: no model given; use --model DIR, a directory written by `dhrd train`"
    ]


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("train --data x.jsonl", "; data.train is a setting, use --set data.train=…"),
        ("train --model gpt2", "use --set model.name_or_path=…"),
        ("train --train-file x.jsonl", "use --set data.train=…"),
        ("train --max_input_token 3", "use --set data.max_input_tokens=…"),
        ("predict --column x", "use --set data.columns=…"),
        ("config show --learning-rat 3", "use --set training.learning_rate=…"),
        ("reproduce main --epochs 1", "use --set training.num_epochs=…"),
        ("rationales audit --input-templat x", "use --set data.input_template=…"),
    ],
)
def test_an_unknown_option_names_the_setting_that_is_meant(capsys: Any, command: str, told: str) -> None:
    ended = run_here(capsys, *command.split())
    assert (ended.code, told in ended.err) == (2, True), ended.err


@pytest.mark.parametrize("command", ["train --epochs 1", "predict --learning-rate 1", "train --zzz", "doctor --data x"])
def test_and_none_where_a_flag_is_nearer_or_the_command_does_not_read_it(capsys: Any, command: str) -> None:
    ended = run_here(capsys, *command.split())
    assert (ended.code, "No such option" in ended.err, "--set" in ended.err) == (2, True, False), ended.err


def test_ctrl_c_says_what_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    with (
        pytest.raises(typer.Exit) as left,
        interruptible("answers so far are kept; run the same command again to continue"),
    ):
        raise KeyboardInterrupt
    assert left.value.exit_code == 130
    assert capsys.readouterr().err == (
        "dhrd: interrupted; answers so far are kept; run the same command again to continue\n"
    )
