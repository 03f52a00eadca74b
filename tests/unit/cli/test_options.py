"""Options that several commands share are the same in each."""

from __future__ import annotations

from typing import Any

import pytest
import typer.main

from dhrd.cli import app


def option(command: str, flag: str) -> Any:
    group: Any = typer.main.get_command(app)
    for part in command.split():
        group = group.commands[part]
    (found,) = [param for param in group.params if flag in param.opts]
    return found


@pytest.mark.parametrize(
    ("flag", "commands"),
    [
        ("--config", ("train", "evaluate", "predict", "benchmark", "export", "reproduce", "rationales audit")),
        ("--set", ("train", "evaluate", "predict", "config show", "rationales generate")),
        ("--device", ("train", "evaluate", "predict", "benchmark", "reproduce", "rationales generate")),
        ("--dtype", ("predict", "benchmark")),
        ("--sharing", ("predict", "benchmark")),
        ("--compile", ("predict", "benchmark")),
        ("--max-tokens-per-pass", ("predict", "benchmark")),
    ],
)
def test_a_shared_option_is_the_same_in_each_command(flag: str, commands: tuple[str, ...]) -> None:
    options = [option(command, flag) for command in commands]
    assert len({(one.help, one.metavar, tuple(one.opts), str(one.default), one.required) for one in options}) == 1
    assert not options[0].required and options[0].help


def test_settings_may_be_set_again_and_again() -> None:
    assert option("train", "--set").multiple
    assert option("train", "--set").metavar == "SECTION.KEY=VALUE"
