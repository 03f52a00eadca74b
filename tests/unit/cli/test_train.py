"""`dhrd train`."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
import yaml

from dhrd.run.train import TrainResult
from helpers.own_teacher import SELF, Writer, write_truly
from helpers.runs import flags, read_jsonl, run_here, settings, write_rows

Capsys = pytest.CaptureFixture[str]


def test_flags_of_train_set_what_they_say(capsys: Capsys, tiny_backbone: Path, tmp_path: Path) -> None:
    write_rows(tmp_path)
    given = ["--num_epochs", "1", "--batch-size", "5", "--learning_rate", "2e-4", "--seed", "7", "--device", "cpu"]
    overrides = [*settings(tiny_backbone, tmp_path), "training.batch_size=2", "training.save_steps=null"]
    ended = run_here(capsys, "train", *flags(overrides), *given, "--output_dir", tmp_path / "elsewhere")
    assert ended.code == 0, ended.err
    assert f"\nthe classifier is in {tmp_path / 'elsewhere'}\n" in ended.out
    found = json.loads((tmp_path / "elsewhere" / "run.json").read_text(encoding="utf-8"))
    training = found["config"]["training"]
    assert (training["num_epochs"], training["batch_size"], training["learning_rate"]) == (1, 5, 2e-4)
    assert found["config"]["seed"] == found["seed"] == 7
    assert "torch" in found["versions"]
    assert not (tmp_path / "out").exists()


def test_it_ends_with_the_commands_that_come_next(capsys: Capsys, tiny_backbone: Path, tmp_path: Path) -> None:
    write_rows(tmp_path)
    ended = run_here(capsys, "train", *flags(settings(tiny_backbone, tmp_path)), "--device", "cpu")
    out = tmp_path / "out"
    commands = [line.removeprefix("next: dhrd ") for line in ended.out.splitlines() if line.startswith("next: ")]
    assert [command.split()[0] for command in commands] == ["evaluate", "predict", "serve"]
    evaluated = run_here(capsys, *commands[0].split(), "--device", "cpu")
    assert evaluated.code == 0 and "validation: 9 rows" in evaluated.out, evaluated.err
    labelled = (
        commands[1].replace("ROWS", str(tmp_path / "train.jsonl")).replace("labels.jsonl", str(tmp_path / "l.jsonl"))
    )
    assert run_here(capsys, *labelled.split(), "--device", "cpu").out == f"20 rows are in {tmp_path / 'l.jsonl'}\n"
    assert commands[2] == f"serve --model {out}"


def test_quietly_and_for_a_program(capsys: Capsys, tiny_backbone: Path, tmp_path: Path) -> None:
    write_rows(tmp_path)
    overrides = [*settings(tiny_backbone, tmp_path), "training.selection=best"]
    ended = run_here(capsys, "train", "-q", *flags(overrides), "--device", "cpu", "--json", "-")
    assert ended.code == 0
    result = json.loads(ended.out)
    assert (result["output_dir"], result["steps"], result["was_finished"]) == (str(tmp_path / "out"), 6, False)
    assert result["metrics"]["num_examples"] == 9
    said = ended.err.splitlines()
    assert said[-1] == f"the classifier is in {tmp_path / 'out'}"
    assert not [line for line in said if line.startswith(("train:", "labels:", "update", "kept:", "next:"))]


def test_which_weights_were_kept_is_said(capsys: Capsys, tiny_backbone: Path, tmp_path: Path) -> None:
    write_rows(tmp_path)
    overrides = [*settings(tiny_backbone, tmp_path), "training.selection=best"]
    ended = run_here(capsys, "train", *flags(overrides), "--device", "cpu")
    steps = [line.split()[5] for line in ended.err.splitlines() if line.startswith("keeping the weights after update ")]
    assert steps in (["3,"], ["6,"])


def test_the_commands_of_the_page_on_self_teaching(
    capsys: Capsys, tiny_backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repository: Path
) -> None:
    page = (repository / "docs" / "self-teacher.md").read_text(encoding="utf-8")
    found = re.findall(r"^dhrd ((?:.*\\\n)*.*)$", page, re.MULTILINE)
    generate, rounds = (shlex.split(command.replace("\\\n", " ")) for command in found)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(SELF, Writer(write_truly))
    write_rows(tmp_path)
    tree: dict[str, dict[str, str] | str] = {}
    for one in settings(tiny_backbone, tmp_path):
        name, _, value = one.partition("=")
        section, _, key = name.rpartition(".")
        (tree.setdefault(section, {}) if section else tree)[key] = value  # type: ignore[index]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    ended = run_here(capsys, *rounds, "--device", "cpu")
    assert ended.code == 0, ended.err
    assert "label given" in ended.out and "the classifier of the round with the lowest log loss is in" in ended.out
    assert (tmp_path / "out" / "rounds.json").is_file()
    (tmp_path / "out").rename(tmp_path / "output")
    ended = run_here(capsys, *generate, "--device", "cpu")
    assert ended.code == 0, ended.err
    assert {row["rationale"] for row in read_jsonl(tmp_path / "rationales.jsonl")} == {"it says so"}


@pytest.mark.parametrize("given", [["--overwrite"], ["--checkpoint", "out"]])
def test_rounds_go_on_by_the_same_command(
    capsys: Capsys, tiny_backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path)
    config = flags(settings(tiny_backbone, tmp_path))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "run.json").write_text('{"config": {}}')
    ended = run_here(capsys, "train", *config, "--rounds", "2", *given)
    assert ended.code == 2 and len(ended.error_lines) == 1


def test_one_process_of_several_tells_the_result(
    capsys: Capsys, tiny_backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others have no metrics, and would write over it."""
    write_rows(tmp_path)
    monkeypatch.setattr("dhrd.run.train.train", lambda *_, **__: TrainResult(output_dir=tmp_path / "out", steps=1))
    for is_main in (False, True):
        monkeypatch.setattr("accelerate.PartialState.is_main_process", is_main)
        given = flags(settings(tiny_backbone, tmp_path))
        ended = run_here(capsys, "train", *given, "--json", tmp_path / "result.json")
        assert ended.code == 0, ended.err
        assert (tmp_path / "result.json").exists() == ("next: dhrd evaluate" in ended.out) == is_main
