"""F6: predictions of evaluated rows are written as they are known, each label computed once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import dhrd
from dhrd import Classifier, ConfigError, DataError, Example
from dhrd.evaluation.evaluate import evaluate_classifier
from dhrd.metrics.outcomes import Outcomes
from helpers.rows import write_jsonl
from helpers.runs import LABELS, make_config, read_jsonl, rows, run_here


@pytest.fixture(scope="module")
def artifact(tiny_backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("predictions")
    return dhrd.train(
        make_config(tiny_backbone, directory, "training.num_epochs=1", "data.max_input_tokens=40")
    ).output_dir


@pytest.fixture(scope="module")
def several_labels(tiny_backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("several")
    config = make_config(tiny_backbone, directory, "training.num_epochs=1", "loss.reasoning_weight=0")
    given = [{**row, "label": [row["label"]] if number % 4 else []} for number, row in enumerate(rows(20))]
    return dhrd.train(config, train_dataset=given, validation_dataset=given).output_dir


@pytest.mark.parametrize("several", [False, True])
def test_f6_written_rows_are_those_of_the_evaluation(several: bool, artifact: Path, several_labels: Path) -> None:
    model = several_labels if several else artifact
    given = [{**row, "label": [row["label"]] if several else row["label"]} for row in rows(50)]
    written: list[dict[str, Any]] = []
    kept = dhrd.evaluate(model, given, device="cpu")
    passed = dhrd.evaluate(model, given, device="cpu", write_row=written.append)
    assert written == list(kept.rows())
    assert passed.metrics == kept.metrics
    assert [row["id"] for row in written] == [row["id"] for row in given]
    names = sorted(LABELS)
    for row in written:
        most = max(names, key=row["probabilities"].get)
        assert row["label"] == ([name for name in names if row["probabilities"][name] >= 0.5] if several else most)
    with pytest.raises(ConfigError, match="rows passed to write_row"):
        passed.rows()


def test_f6_labels_of_all_rows_are_computed_once(artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = dhrd.evaluate(artifact, rows(60), device="cpu")

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("the labels of all rows, for one row")

    monkeypatch.setattr(Outcomes, "of_probabilities", never)
    monkeypatch.setattr(Outcomes, "rows", never)
    assert len(list(found.rows())) == 60


@pytest.mark.parametrize("mode", ["cot", "cascade"])
def test_f6_every_mode_writes_its_rows(mode: Any, artifact: Path) -> None:
    written: list[dict[str, Any]] = []
    options: dict[str, Any] = {"threshold": 0.5} if mode == "cascade" else {}
    found = dhrd.evaluate(
        artifact, rows(6), device="cpu", mode=mode, max_new_tokens=5, write_row=written.append, **options
    )
    assert written == list(found.rows())
    assert len(written) == 6


def test_f6_rows_are_written_while_others_are_still_unread(artifact: Path) -> None:
    classifier, written, unread = Classifier.from_pretrained(artifact, device="cpu"), [], []

    def source() -> Iterator[Example]:
        for row in rows(9000):
            unread.append(len(written))
            yield Example(id=row["id"], input_text=row["input_text"], label=row["label"])

    found = evaluate_classifier(classifier, source(), write_row=written.append, num_resamples=10)
    assert len(written) == found.metrics["num_examples"] == 9000
    assert unread[-1] > 0  # by the time the last row was read
    assert found.texts == []


def test_f6_the_command_writes_what_python_gives(artifact: Path, tmp_path: Path, capsys: Any) -> None:
    data, predictions, metrics = tmp_path / "d.jsonl", tmp_path / "p.jsonl", tmp_path / "m.json"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows(30)), encoding="utf-8")
    ended = run_here(
        capsys, "evaluate", "--model", artifact, "--data", data, "--predictions", predictions, "--json", metrics
    )
    assert ended.code == 0, ended.err
    found = dhrd.evaluate(artifact, str(data))
    assert read_jsonl(predictions) == list(found.rows())
    assert json.loads(metrics.read_text(encoding="utf-8")) == found.metrics


def test_f6_a_bad_row_leaves_the_old_file(artifact: Path, tmp_path: Path, capsys: Any) -> None:
    data, predictions = tmp_path / "d.jsonl", tmp_path / "p.jsonl"
    given = [*rows(30), {"id": "last", "input_text": "some text", "label": "unknown"}]
    data.write_text("".join(json.dumps(row) + "\n" for row in given), encoding="utf-8")
    predictions.write_text("before\n", encoding="utf-8")
    ended = run_here(capsys, "evaluate", "--model", artifact, "--data", data, "--predictions", predictions)
    assert ended.code == 2
    assert "d.jsonl:31" in ended.error_lines[0]
    assert predictions.read_text(encoding="utf-8") == "before\n"


@pytest.mark.parametrize(
    "given",
    [
        ("--threshold", "0.3"),
        ("--target-accuracy", "0.5"),
        ("--target-cost", "2", "--mode", "cot"),
        ("--dev-data", "{rows}"),
        ("--plot", "x.svg"),
        ("--mode", "cascade", "--threshold", "0.5", "--dev-data", "{rows}"),
        ("--checkpoint", "another"),
    ],
    ids=" ".join,
)
def test_options_that_would_do_nothing_are_refused(
    artifact: Path, tmp_path: Path, capsys: Any, given: tuple[str, ...]
) -> None:
    """What is asked for is done, or the command says why not."""
    path = write_jsonl(tmp_path / "rows.jsonl", rows(6))
    options = (part.format(rows=path) for part in given)
    ended = run_here(capsys, "evaluate", "--model", artifact, "--data", path, *options)
    assert (ended.code, len(ended.error_lines)) == (2, 1), ended.err


def test_f6_no_rows_are_refused(artifact: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_text("", encoding="utf-8")
    with pytest.raises(DataError, match=r"empty\.jsonl: no rows"):
        dhrd.evaluate(artifact, str(empty))
