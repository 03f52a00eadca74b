"""Options that several commands share are the same in each."""

from __future__ import annotations

from typing import Any

import pytest
import typer.main
import typer.testing

from dhrd.cli import app
from dhrd.cli.options import ClassifierOptions, complete_setting, grouped
from dhrd.cli.overview import USE
from dhrd.config.load import setting_names
from helpers.runs import run_here


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
        ("--json", ("train", "label", "select", "update", "audit labels", "rationales generate", "rationales convert")),
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


@pytest.mark.parametrize(("group", "num_commands"), [("", 17), ("audit", 1), ("config", 2), ("rationales", 3)])
def test_a_group_tells_each_command_in_one_whole_line(
    capsys: pytest.CaptureFixture[str], group: str, num_commands: int
) -> None:
    out = run_here(capsys, *group.split(), "--help").out
    told = out[out.index("Commands:\n" if group else f"{USE}:\n") :].splitlines()
    lines = [line for line in told if line.startswith("  ")]
    assert len(lines) == num_commands
    assert [line for line in lines if not line.endswith(".") or line.endswith("...")] == []


def test_every_option_has_help() -> None:
    group: Any = typer.main.get_command(app)
    commands = [
        part for command in group.commands.values() for part in getattr(command, "commands", {"": command}).values()
    ]
    assert len(commands) == 20
    unexplained = [(command.name, one.name) for command in commands for one in command.params if not one.help]
    assert unexplained == []


def test_set_is_completed_with_settings_and_never_with_a_section() -> None:
    assert complete_setting("training.ba") == ["training.batch_size="]
    completed = [name.removesuffix("=") for name in complete_setting("")]
    assert set(completed) < set(setting_names())
    assert {"seed", "data.train", "model.lora.r", "loss.reasoning_weight"} <= set(completed)
    assert {"model", "data", "model.lora"}.isdisjoint(completed)


def test_a_group_gives_its_options_to_the_command_and_comes_back_as_one() -> None:
    found: list[Any] = []

    def command(name: str, count: int = 2, *, classifier: ClassifierOptions) -> None:
        found.append((name, count, classifier))

    lone = typer.Typer()
    lone.command()(grouped(command))
    asked = ["x", "--no-sharing", "--max-tokens-per-pass", "9", "--device", "cpu"]
    assert typer.testing.CliRunner().invoke(lone, asked).exit_code == 0
    assert typer.testing.CliRunner().invoke(lone, ["x", "--count", "3"]).exit_code == 0
    assert typer.testing.CliRunner().invoke(lone, ["x", "--max-tokens-per-pass", "0"]).exit_code == 2
    assert found == [
        ("x", 2, ClassifierOptions(device="cpu", share_prefixes=False, max_tokens_per_pass=9)),
        ("x", 3, ClassifierOptions()),
    ]
