"""Rounds: the model writes what is missing, is trained anew, and the best round by held-out log loss is kept."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dhrd._temporary import temporary
from dhrd.artifact.known_rows import TRAINED
from dhrd.config import RunConfig
from dhrd.config.tasks import TaskSettings
from dhrd.data.digest import digest_of
from dhrd.data.rows import load_rows
from dhrd.errors import CheckpointError, ConfigError
from dhrd.evaluation.evaluate import evaluate_classifier
from dhrd.inference.classifier import Classifier
from dhrd.rationales.output import Written
from dhrd.run import rounds as module
from dhrd.run.decide import decide
from dhrd.run.rounds import train_rounds
from dhrd.run.rows import rows_of
from dhrd.run.train import train
from dhrd.run.trained import held_out_rows, num_trained
from dhrd.training.run_dir import read_run
from helpers.rows import write_jsonl
from helpers.runs import Stop, make_config, read_jsonl, stopping


@pytest.fixture
def config(tiny_backbone: Path, tmp_path: Path) -> RunConfig:
    given = ["training.num_epochs=1", "data.dev_share=0.3", "data.rationale_share=0.5", "teacher.max_tokens=40"]
    return make_config(tiny_backbone, tmp_path, *given)


@pytest.fixture
def taught(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Rationales that stand for what a tiny model cannot write; and how often, and of which rows, they were asked."""
    asked: list[Any] = []

    def write(config: RunConfig, data: Any, output: Path, **_: Any) -> Written:
        examples = data.load()
        asked.append((config.teacher.name, [example.id for example in examples]))
        text = f"round {len({name for name, _ in asked})}"  # a run that goes on finds what it wrote
        write_jsonl(output, [{"id": e.id, "rationale": text, "input_digest": e.digest} for e in examples])
        written = Written(output=output, num_rows=len(examples), num_written=len(examples))
        written.noted["label_given"] = 2
        return written

    monkeypatch.setattr(module, "generate_rationales", write)
    return asked


def losses(monkeypatch: pytest.MonkeyPatch, *values: float) -> None:
    """Let the rounds have these log losses."""
    real, left = evaluate_classifier, list(values)

    def evaluate(*arguments: Any) -> Any:
        found = real(*arguments)
        return replace(found, metrics=found.metrics | {"log_loss": left.pop(0)})

    monkeypatch.setattr(module, "evaluate_classifier", evaluate)


def test_the_round_with_the_least_log_loss_is_kept(
    config: RunConfig, tmp_path: Path, taught: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    losses(monkeypatch, 1.0, 0.8, 0.9, 0.1)
    result, rounds = train_rounds(config, 4, device="cpu")
    assert [one.log_loss for one in rounds] == [1.0, 0.8, 0.9], "the third is no better, so there is no fourth"
    rows = load_rows(config)
    missing = [example.id for example in rows.train if not example.rationale]
    assert missing and [ids for _, ids in taught] == [missing, missing]
    assert [name.endswith(f"out.rounds/{number}/artifact") for number, (name, _) in enumerate(taught, 1)] == [True] * 2
    own = len(rows.train) - len(missing)
    assert [(one.num_rationales, one.num_own, one.num_told) for one in rounds] == [
        (own, 0, 0),
        (len(rows.train), len(missing), 2),
        (len(rows.train), len(missing), 2),
    ]
    output = tmp_path / "out"
    assert result.output_dir == output and not (tmp_path / "out.rounds").exists()
    assert json.loads((output / "rounds.json").read_text())["best"] == 2
    assert {row["rationale"] for row in read_jsonl(output / "rationales.jsonl")} == {"round 1"}
    evaluation = evaluate_classifier(Classifier.from_pretrained(output, device="cpu", dtype=None), rows.choose)
    assert evaluation.metrics["selected_on"] is True
    assert evaluation.metrics["accuracy"] == pytest.approx(rounds[1].accuracy)
    assert num_trained(output, map(digest_of, rows.train)) == len(rows.train)


def test_what_rounds_hold_out_and_leave_out_is_known_afterwards(config: RunConfig, taught: list[Any]) -> None:
    """As of `train`: the published settings are the user's, not those of a round, whose rows are drawn already."""
    config = config.model_copy(update={"data": config.data.model_copy(update={"train_limit": 15})})
    output, rows = train_rounds(config, 1, device="cpu")[0].output_dir, load_rows(config)
    published = read_run(output)
    assert published is not None and (published.data, published.output_dir) == (config.data, config.output_dir)
    assert held_out_rows(output) == rows.choose
    left_out = rows_of(output, read_jsonl(Path(str(config.data.train)))[15:])
    assert num_trained(output, map(digest_of, rows.train)) == len(rows.train)
    assert num_trained(output, map(digest_of, [*rows.choose, *left_out])) == 0
    (output / TRAINED).unlink()
    assert num_trained(output, map(digest_of, rows.train)) == len(rows.train), "read again, they are the same rows"
    decide(output, targets=["accuracy>=0.01"], confidence=0.5, device="cpu")


@pytest.mark.parametrize(("dev_share", "judged_on"), [(0.3, "0.3 of {data.train}"), (0.0, "{data.validation}")])
def test_the_card_says_that_its_rows_chose_the_round(
    config: RunConfig, taught: list[Any], dev_share: float, judged_on: str
) -> None:
    config = config.model_copy(update={"data": config.data.model_copy(update={"dev_share": dev_share})})
    result, _ = train_rounds(config, 2, device="cpu")
    assert result.metrics["selected_on"] is True and result.metrics["accuracy"] >= 0
    card = (result.output_dir / "README.md").read_text()
    assert "- name: out\n" in card, "which it is called now, not as its round was"
    rows = f"{result.metrics['num_examples']} rows of `{judged_on.format(data=config.data)}`"
    assert f"{rows}; the weights, or a temperature, were chosen on these rows." in card


def test_a_round_is_the_same_as_training_with_its_rationales(
    config: RunConfig, tmp_path: Path, taught: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    losses(monkeypatch, 1.0, 0.5)
    result, _ = train_rounds(config, 2, device="cpu")
    rows = load_rows(config)
    filled = [e if e.rationale else replace(e, rationale="round 1") for e in rows.train]
    data = config.data.model_copy(update={"dev_share": 0.0, "rationale_share": 1.0, "validation": None})
    alone = config.model_copy(update={"data": data, "output_dir": str(tmp_path / "alone")})
    other = train(alone, train_dataset=filled, device="cpu").output_dir
    ours, theirs = (
        Classifier.from_pretrained(one, device="cpu", dtype=None).predict_proba(rows.validation)
        for one in (result.output_dir, other)
    )
    assert ours == pytest.approx(theirs, abs=1e-5)


def test_rounds_that_were_stopped_go_on(config: RunConfig, taught: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[str] = []

    def once(given: RunConfig, **options: Any) -> Any:
        trained.append(Path(given.output_dir).parent.name)
        if len(trained) == 2:
            raise KeyboardInterrupt
        return train(given, **options)

    losses(monkeypatch, 1.0, 1.0, 0.5)
    monkeypatch.setattr(module, "train", once)
    with pytest.raises(KeyboardInterrupt):
        train_rounds(config, 2, device="cpu")
    result, rounds = train_rounds(config, 2, device="cpu")
    assert trained == ["1", "2", "1", "2"] and len(rounds) == 2, "the first was done, which its directory told"
    assert result.output_dir.is_dir()


def test_rounds_that_were_stopped_while_the_best_took_its_place_go_on(
    config: RunConfig, tmp_path: Path, taught: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    output, work, trained = tmp_path / "out", tmp_path / "out.rounds", []
    output.mkdir()

    def counted(*arguments: Any, **options: Any) -> Any:
        trained.append(train(*arguments, **options).was_finished)

    losses(monkeypatch, 0.5, 0.8, 0.5, 0.8)
    monkeypatch.setattr(module, "train", counted)
    with stopping(os, "replace", work / "1" / "artifact"), pytest.raises(Stop):
        train_rounds(config, 2, device="cpu")
    other = config.model_copy(update={"training": config.training.model_copy(update={"learning_rate": 0.5})})
    for place, name, path in (module, "settle", output), (os, "replace", work):
        with stopping(place, name, path), pytest.raises(Stop):
            train_rounds(config, 2, device="cpu")
        with pytest.raises(CheckpointError, match="has other settings"):
            train_rounds(other, 2, device="cpu")
    result, rounds = train_rounds(config, 2, device="cpu")
    assert trained == [False, False, True, True]
    assert [one.log_loss for one in rounds] == [0.5, 0.8]
    assert result.output_dir == output and not work.exists()
    assert held_out_rows(output) == load_rows(config).choose
    assert Classifier.from_pretrained(output, device="cpu").labels


def test_rounds_that_were_stopped_while_they_removed_their_work_are_complete(config: RunConfig, tmp_path: Path) -> None:
    left, output = temporary(tmp_path / "out.rounds", tmp_path), tmp_path / "out"
    left.mkdir()
    (left / "1").touch()
    output.mkdir()
    (output / "rounds.json").touch()
    with pytest.raises(ConfigError, match="out: the interrupted rounds are complete"):
        train_rounds(config, 2)
    assert not left.exists()
    with pytest.raises(ConfigError, match="is not empty"):
        train_rounds(config, 2)


def test_a_round_that_is_done_is_not_taken_for_one_of_other_rows(
    config: RunConfig, taught: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    losses(monkeypatch, 1.0, 0.5, 1.0)

    def stop(*_: Any) -> Any:
        raise Stop

    with monkeypatch.context() as patch, pytest.raises(Stop):
        patch.setattr(module, "_finish", stop)
        train_rounds(config, 1, device="cpu")
    path = Path(str(config.data.train))
    path.write_text(path.read_text().replace('"keep"', '"x"').replace('"return"', '"keep"').replace('"x"', '"return"'))
    with pytest.raises(ConfigError, match="the run started there has other rows or settings"):
        train_rounds(config, 1, device="cpu")


def test_a_model_that_writes_nothing_has_no_second_round(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "generate_rationales", lambda *a, **_: Written(output=a[2]))
    _, rounds = train_rounds(config, 3, device="cpu")
    assert len(rounds) == 1 and "none of the rationales written conclude with the right label" in caplog.text


def test_what_cannot_be_is_told_before_training(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "train", lambda *_, **__: pytest.fail("trained"))

    def changed(**given: Any) -> RunConfig:
        return config.model_copy(update={"data": config.data.model_copy(update=given)})

    with pytest.raises(ConfigError, match=r"set data\.dev_share"):
        train_rounds(changed(dev_share=0.0, validation=None), 2)
    whole = write_jsonl(
        tmp_path / "whole.jsonl", [row | {"rationale": "so"} for row in read_jsonl(tmp_path / "train.jsonl")]
    )
    with pytest.raises(ConfigError, match="every training row has one"):
        train_rounds(changed(train=str(whole), rationale_share=1.0), 2)
    with pytest.raises(ConfigError, match="support a single task"):
        train_rounds(config.model_copy(update={"tasks": {"a": TaskSettings()}}), 2)
    for weights in ({"classification_weight": 0.0}, {"reasoning_weight": 0.0}, {"lm_targets": "input"}):
        untrained = config.model_copy(update={"loss": config.loss.model_copy(update=weights)})
        with pytest.raises(ConfigError, match=r"`rounds` .*loss\.(classification|reasoning)_weight above 0"):
            train_rounds(untrained, 2)
    (tmp_path / "out").symlink_to("/proc/sys")
    with pytest.raises(ConfigError, match=r"`output_dir` .*out: is a link to another disk"):
        train_rounds(config, 2)
    (tmp_path / "out").unlink()
    (tmp_path / "out.rounds").mkdir()
    (tmp_path / "out.rounds" / "mine.txt").write_text("x")
    with pytest.raises(ConfigError, match=r"out\.rounds contains files"):
        train_rounds(config, 2)
