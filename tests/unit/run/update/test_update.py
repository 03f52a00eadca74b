"""An update: what it keeps of the old model, where it ends, and that it goes on."""

from __future__ import annotations

import json
import logging
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from dhrd._files import LOCK
from dhrd.artifact.info import read_info
from dhrd.artifact.known_rows import TRAINED
from dhrd.artifact.write import write_decision
from dhrd.data.digest import digest_of
from dhrd.data.label_space import LabelSpace
from dhrd.data.records import LabelSet
from dhrd.decisions.decision import Decision
from dhrd.errors import CheckpointError, ConfigError, DataError
from dhrd.inference.classifier import Classifier
from dhrd.model.foreign import Weights
from dhrd.run.decide import decide
from dhrd.run.evaluate import evaluate
from dhrd.run.rows import rows_of
from dhrd.run.train import train
from dhrd.run.trained import held_out_rows, num_trained
from dhrd.run.update import update as module
from dhrd.run.update.gate import UpdateGate
from dhrd.run.update.start import beside_output, is_published, update_config
from dhrd.run.update.update import Updated, update
from dhrd.training.run_dir import read_run
from helpers.artifacts import save_model
from helpers.models import make_model
from helpers.runs import Recorder, Stop, stopping
from helpers.updates import settings_of, train_old

TEXTS = ["case 1: keep", "case 2: return", "case 3: refund"]


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory, tiny_backbone: Path) -> Path:
    given = ["training.calibrate=true", "data.max_input_tokens=77", "data.dev_share=0.2"]
    with pytest.MonkeyPatch.context() as patch:  # so few rows determine no temperature
        patch.setattr("dhrd.evaluation.live.fit_temperature", lambda *_, **__: 2.0)
        return train_old(tiny_backbone, tmp_path_factory.mktemp("old"), *given)


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gate that holds whatever the rows say."""
    monkeypatch.setattr(UpdateGate, "holds", property(lambda self: True))


def run(old: Path, directory: Path, **given: Any) -> Updated:
    return update(settings_of(directory, old, **given), update_config(old), device="cpu")


def test_an_updated_model_is_an_artifact_with_its_report(
    old: Path, tmp_path: Path, always: None, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "dhrd"):
        updated = run(old, tmp_path, kl=0.5)
    assert updated.output_dir == tmp_path / "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "new.jsonl"]
    classifier = Classifier.from_pretrained(updated.output_dir, device="cpu", dtype=None)
    assert classifier.labels.names == ("keep", "repair", "return", "refund")
    assert classifier.info.calibration == {"temperature": 1.0}
    assert classifier.info.max_input_tokens == 77
    assert classifier.predict_proba(TEXTS).shape == (3, 4)
    report = json.loads((updated.output_dir / "update.json").read_text())
    assert (report["num_new"], report["num_replayed"]) == (updated.gate.num_new, updated.gate.num_replayed) == (13, 13)
    assert report["old"]["broken"]["num_rows"] == updated.gate.old.broken.num_rows
    assert "its calibration" in caplog.text and "refund (" in caplog.text
    _check_knows_its_place(updated)
    again = run(updated.output_dir, _empty(tmp_path / "december"), replay=str(old.parent / "train.jsonl"))
    assert Classifier.from_pretrained(again.output_dir, device="cpu").labels == classifier.labels


def test_an_updated_model_tells_the_rows_that_it_was_trained_on(
    old: Path, tmp_path: Path, always: None, caplog: pytest.LogCaptureFixture
) -> None:
    """New ones, replayed ones, and all of the first model's; what it held out cannot be split off a file again."""
    config = update_config(old)
    config = config.model_copy(update={"data": config.data.model_copy(update={"dev_share": 0.2})})
    plain, split = run(old, tmp_path), update(settings_of(_empty(tmp_path / "split"), old), config, device="cpu")
    new, first = (
        [digest_of(row) for row in rows_of(plain.output_dir, path)]
        for path in (tmp_path / "new.jsonl", old.parent / "train.jsonl")
    )
    assert num_trained(plain.output_dir, new) == plain.gate.num_new < len(new)
    assert num_trained(old, first) == 16 and 16 <= num_trained(plain.output_dir, first) <= len(first)
    with pytest.raises(DataError, match=r"the model was trained on .* rows, so they say little about new ones"):
        decide(plain.output_dir, old.parent / "train.jsonl", targets=["accuracy>=0.1"], device="cpu")
    evaluate(plain.output_dir, old.parent / "train.jsonl", device="cpu")
    assert "rows have the text of a training row, so the metrics are too optimistic" in caplog.text
    with pytest.raises(DataError, match=r"rows that training held out have changed, or are not of data\.train"):
        held_out_rows(split.output_dir)
    (plain.output_dir / TRAINED).unlink()
    assert num_trained(plain.output_dir, new) == 0 and "gives other rows now than in training" in caplog.text


def test_the_first_step_moves_the_old_weights_and_no_others(
    old: Path, tmp_path: Path, always: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With rates of next to nothing the updated model answers as the old one did."""
    config = update_config(old, rate_factor=1e-9)
    updated = update(settings_of(tmp_path, old), config, device="cpu")
    names = [name for name in Weights.of(old).load() if name != "score.weight"]
    before, after = Weights.of(old).load(), Weights.of(updated.output_dir).load()
    assert names and all(torch.allclose(before[name], after[name], atol=1e-6) for name in names)
    temperature = read_info(old).calibration["temperature"]
    assert torch.allclose(after["score.weight"][:3], before["score.weight"] * temperature, atol=1e-5)


def test_what_the_gate_refuses_is_left_beside(old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(UpdateGate, "holds", property(lambda self: False))
    for _ in range(2):  # the second takes the first's place
        updated = run(old, tmp_path)
        assert updated.output_dir == tmp_path / "new.rejected"
        assert sorted(path.name for path in tmp_path.iterdir()) == ["new.jsonl", "new.rejected"]
    assert json.loads((updated.output_dir / "update.json").read_text())["published"] is False
    _check_knows_its_place(updated)
    assert Classifier.from_pretrained(updated.output_dir, device="cpu").predict(TEXTS)


def test_an_update_that_was_stopped_goes_on_to_the_same_weights(
    old: Path, tmp_path: Path, always: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(old, _empty(tmp_path / "whole"), kl=0.5)
    config = update_config(old)
    config = config.model_copy(update={"training": config.training.model_copy(update={"save_steps": 1})})
    settings = settings_of(_empty(tmp_path / "stopped"), old, kl=0.5)
    monkeypatch.setattr(module, "train", lambda *a, **k: train(*a, **k, callbacks=[Recorder(fail_at=2)]))
    with pytest.raises(Stop):
        update(settings, config, device="cpu")
    work, _ = beside_output(settings.output)
    assert list(work.glob("artifact/checkpoints/step-*")) and not settings.output.exists()
    monkeypatch.setattr(module, "train", train)
    with pytest.raises(CheckpointError, match=r"has other settings.*(\n.*)*remove .*new\.update to start over"):
        update(settings, update_config(old, rate_factor=0.5), device="cpu")
    updated = update(settings, config, device="cpu")
    theirs, ours = (Weights.of(one.output_dir).load() for one in (whole, updated))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_an_update_that_was_stopped_while_it_took_its_place_goes_on(
    old: Path, tmp_path: Path, always: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each step of it, into a directory that holds nothing and keeps its mode; trained once."""
    output, finished = tmp_path / "new", []
    work, _ = beside_output(output)
    output.mkdir(mode=0o700)
    (output / LOCK).touch()
    (output / "empty").mkdir()
    monkeypatch.setattr(module, "train", lambda *a, **k: finished.append(train(*a, **k).was_finished))
    for function, place, path in (
        ("rmtree", shutil, output / "empty"),
        ("replace", os, work / "artifact"),
        ("replace", os, work),
    ):
        with stopping(place, function, path), pytest.raises(Stop):
            run(old, tmp_path)
        assert is_published(output) is (path == work)
    with pytest.raises(ConfigError, match="has other rows or settings"):
        run(old, tmp_path, replay_share=0.2)
    with pytest.raises(CheckpointError, match=r"has other settings.*(\n.*)*remove .*new\.update to start over"):
        update(settings_of(tmp_path, old), update_config(old, rate_factor=0.5), device="cpu")
    updated = run(old, tmp_path)
    assert finished == [False, True, True, True]
    assert updated.output_dir == output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "new.jsonl"]
    assert Classifier.from_pretrained(output, device="cpu").predict(TEXTS)


def test_training_that_is_finished_is_not_taken_for_one_of_other_rows(
    old: Path, tmp_path: Path, always: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that was stopped before the gate goes on with its own rows alone."""
    judge = module.judge_update

    def stop(*_: Any, **__: Any) -> Any:
        raise Stop

    monkeypatch.setattr(module, "judge_update", stop)
    with pytest.raises(Stop):
        run(old, tmp_path)
    monkeypatch.setattr(module, "judge_update", judge)
    with pytest.raises(ConfigError, match=r"new\.update: the run started there has other rows or settings"):
        run(old, tmp_path, replay_share=0.2)
    assert run(old, tmp_path).output_dir == tmp_path / "new"


def test_a_refused_update_leaves_nothing(old: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError):
        run(old, tmp_path, replay=str(tmp_path / "nowhere.jsonl"))
    assert [path.name for path in tmp_path.iterdir()] == ["new.jsonl"]


def test_the_decision_of_the_old_model_is_left_out(
    tiny_backbone: Path, tmp_path: Path, always: None, caplog: pytest.LogCaptureFixture
) -> None:
    old = train_old(tiny_backbone, _empty(tmp_path / "old"))
    write_decision(old, Decision(rules=(), confidence=0.9, sets=None, num_rows=9, fingerprint="x"))
    with caplog.at_level(logging.WARNING, "dhrd"):
        updated = run(old, tmp_path)
    assert read_info(updated.output_dir).decision is None
    assert "its decision applies to the old weights and is dropped" in caplog.text


def test_what_is_wrong_is_told_before_anything_is_trained(
    old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "train", lambda *_, **__: pytest.fail("trained"))
    config, settings = update_config(old), settings_of(tmp_path, old)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine.txt").write_text("x")
    with pytest.raises(ConfigError, match=r"`output` .*taken: is not empty"):
        update(replace(settings, output=tmp_path / "taken"), config)
    labelled = config.model_copy(update={"data": config.data.model_copy(update={"labels": ("a", "b")})})
    with pytest.raises(ConfigError, match=r"data\.labels: an update keeps"):
        update(replace(settings, output=tmp_path / "other"), labelled)
    choosing = config.model_copy(update={"training": config.training.model_copy(update={"selection": "best"})})
    with pytest.raises(ConfigError, match=r"set data\.dev_share"):
        update(replace(settings, output=tmp_path / "other"), choosing)
    assert (tmp_path / "taken" / "mine.txt").is_file() and not (tmp_path / "other").exists()


def test_an_artifact_of_several_tasks_is_refused(old: Path, tmp_path: Path) -> None:
    space = LabelSpace.of({"a": LabelSet(("x", "y")), "b": LabelSet(("u", "v"))})
    directory = tmp_path / "tasks"
    save_model(directory, make_model(num_labels=4), space)
    with pytest.raises(
        ConfigError, match=r"an update supports a single task, but this model was trained with `tasks` \(a, b\)"
    ):
        update(replace(settings_of(tmp_path, old), model=directory), update_config(old))


def _check_knows_its_place(updated: Updated) -> None:
    """By its card and run.json, which were written in a directory that is gone."""
    config, card = read_run(updated.output_dir), (updated.output_dir / "README.md").read_text()
    assert config is not None and Path(config.output_dir) == updated.output_dir
    assert f"\nmodel_name: {updated.output_dir.name}\n" in card


def _empty(directory: Path) -> Path:
    directory.mkdir()
    return directory
