"""Labels through the command line: settings that name them, doubts that are said, metrics of labels that are absent."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dhrd.artifact.info import MANIFEST, read_info
from dhrd.config import load_config
from dhrd.data.records import LabelSet
from dhrd.data.rows import load_rows
from dhrd.errors import ConfigError, DataError
from dhrd.evaluation.evaluate import evaluate_classifier
from dhrd.inference.classifier import Classifier
from dhrd.metrics.metrics import compute_metrics
from dhrd.metrics.outcomes import Outcomes
from helpers.rows import write_jsonl
from helpers.runs import Ended, flags, read_jsonl, run_here

DIGITS = (0, 1, 2, 10, 11)


def doubts(caplog: pytest.LogCaptureFixture, rows: list[dict[str, Any]], **settings: Any) -> str:
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="dhrd"):
        load_rows(load_config(loss__reasoning_weight=0, **settings), rows)
    return caplog.text


def rows(*labels: Any, count: int = 1) -> list[dict[str, Any]]:
    return [{"id": f"r{i}", "input_text": f"note {i}", "label": label} for i, label in enumerate(labels * count)]


@pytest.fixture(scope="module")
def trained(tiny_backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier of digits from CSV, the text of each row saying which."""
    from dhrd.run.train import train

    directory = tmp_path_factory.mktemp("digits")
    lines = ["input_text,label,rationale", *(f"note {digit},{digit},it says so" for digit in DIGITS * 3)]
    (directory / "train.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    config = load_config(
        model__name_or_path=str(tiny_backbone),
        data__train=str(directory / "train.csv"),
        data__validation=str(directory / "train.csv"),
        training__num_epochs=2,
        training__mixed_precision="no",
        output_dir=str(directory / "out"),
    )
    train(config)
    return directory / "out"


def test_l1_gold_labels_are_the_same_by_integer_and_by_text(trained: Path, capsys: Any, tmp_path: Path) -> None:
    """L1: evaluating the training rows as integers gives what evaluating them as text gives."""
    found = {}
    for name, spell in (("text", str), ("integers", int), ("decimals", float)):
        data = write_jsonl(tmp_path / f"{name}.jsonl", rows(*map(spell, DIGITS), count=2))
        ended = run_here(
            capsys, "evaluate", "--model", trained, "--data", data, "--device", "cpu",
            "--json", tmp_path / f"{name}.json", "--predictions", tmp_path / f"{name}.out.jsonl",
        )  # fmt: skip
        assert ended.code == 0, ended.err
        found[name] = json.loads((tmp_path / f"{name}.json").read_text()), read_jsonl(tmp_path / f"{name}.out.jsonl")
    assert found["text"] == found["integers"] == found["decimals"]
    assert [row["gold"] for row in found["integers"][1]] == [str(digit) for digit in DIGITS] * 2


def test_l1_the_artifact_says_whose_order_it_is(trained: Path, tmp_path: Path) -> None:
    manifest = json.loads((trained / MANIFEST).read_text(encoding="utf-8"))
    assert manifest["labels"]["names"] == ["0", "1", "2", "10", "11"]
    assert manifest["labels"]["ordered"] is read_info(trained).labels.ordered is False
    for names, ordered in ((["b", "a"], True), (["a", "b"], False)):  # an older artifact does not say
        older = {**manifest, "digests": {}, "labels": {"names": names, "words": names, "multi_label": False}}
        (tmp_path / MANIFEST).write_text(json.dumps(older), encoding="utf-8")
        assert read_info(tmp_path).labels == LabelSet(tuple(names), ordered=ordered)


@pytest.mark.parametrize("label", ["US", "us", "spam ", "1.0"])
def test_l7_an_older_artifact_with_odd_names_still_loads(label: str, trained: Path, tmp_path: Path) -> None:
    manifest = json.loads((trained / MANIFEST).read_text(encoding="utf-8"))
    names = ["US", "us", "spam ", "1.0", "x, y"]
    manifest |= {"labels": {"names": names, "words": names, "multi_label": False}, "digests": {}}
    (tmp_path / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    labels = read_info(tmp_path).labels
    assert labels.encode(label) == labels.read(label) == (names.index(label),)


@pytest.mark.parametrize(
    "settings",
    [
        {"data__input_template": "{{ input_text }} {{ label }}"},
        {"data__columns": {"input_text": "label"}},
        {"data__columns": {"label": "kind"}, "data__input_template": "{{ kind }}"},
    ],
)
def test_l13_a_template_that_reads_the_label_is_doubted(settings: Any, caplog: pytest.LogCaptureFixture) -> None:
    found = [{**row, "kind": row["label"]} for row in rows("a", "b")]
    assert "the label's own column: the input tells the label" in doubts(caplog, found, **settings)


def test_l13_a_separator_makes_several_labels_of_text(tmp_path: Path) -> None:
    """L13: in CSV as elsewhere; a blank cell is no label at all, a blank part is refused."""
    (tmp_path / "rows.csv").write_text('input_text,label\nx,a|b\ny,b \nz,""\nv,1| 2.0\n', encoding="utf-8")
    config = load_config(overrides=["data.label_separator=|", "loss.reasoning_weight=0"])
    found = load_rows(config, tmp_path / "rows.csv", [{"input_text": "t", "label": ["a", "b"]}])
    assert [row.label for row in found.train] == [("a", "b"), ("b",), (), ("1", "2")]
    assert [row.label for row in found.validation] == [("a", "b")]
    with pytest.raises(DataError, match=r"row 0: label: 'a\|\|b' has an empty name"):
        load_rows(config, rows("a||b", "a"))


@pytest.mark.parametrize("mark", ["|", ";", ",", "/", "\t", "' '", '"; "'])
def test_l13_any_mark_separates(mark: str) -> None:
    config = load_config(overrides=[f"data.label_separator={mark}"])
    assert config.data.label_separator == mark.strip("'\"")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("data:\n  labels: [yes, no]\n", id="L18: labels"),
        pytest.param("data: {labels: [NO, SE]}\n", id="L18: a country"),
        pytest.param("data: {labels: [a, null]}\n", id="L18: null"),
        pytest.param("data: {labels: [1.5, 2.5]}\n", id="L18: decimals"),
        pytest.param("data: {labels: [2020-01-01, a]}\n", id="L18: a date"),
        pytest.param("loss: {class_weights: {yes: 2, no: 1}}\n", id="L18: weights"),
        pytest.param("data: {columns: {label: on}}\n", id="L18: a column"),
    ],
)
def test_l18_yamls_own_words_are_explained(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="put quotes around it"):
        load_config(tmp_path / "config.yaml")


def test_l18_integers_are_names_as_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(
        "data: {labels: [0, 1, -2, 010, 1:30, 4.0]}\nloss: {class_weights: {0: 2, 1: 1}}\nseed: 007\n", encoding="utf-8"
    )
    config = load_config(path)
    assert config.data.labels == ("0", "1", "-2", "010", "1:30", "4")
    assert config.loss.class_weights == {"0": 2.0, "1": 1.0}
    assert config.seed == 7


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.labels=no,yes", 'give a list, with quotes around yes and no: data.labels=["no", "yes"]'),
        ("data.labels=no", 'give a list, with quotes around yes and no: data.labels=["no", "yes"]'),
        ("loss.class_weights.v1.0=2", 'a name with a dot goes in braces: loss.class_weights={"v1.0": 2}'),
        ("loss.class_weights.a.b.c=2", 'a name with a dot goes in braces: loss.class_weights={"a.b.c": 2}'),
        ("data.columns.input.text=x", "a name with a dot goes in braces: data.columns={\"input.text\": 'x'}"),
    ],
)
def test_l18_overrides_say_how_it_is_given(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(overrides=[override])
    assert message in str(caught.value)


def test_l18_what_the_message_says_works() -> None:
    found = load_config(overrides=['loss.class_weights={"v1.0": 2, "v1.1": 1}', 'data.labels=["no", "yes"]'])
    assert found.loss.class_weights == {"v1.0": 2.0, "v1.1": 1.0}
    assert found.data.labels == ("no", "yes")


def test_l20_labels_that_are_neither_gold_nor_predicted_are_named() -> None:
    """All right on rows of two of three labels: macro F1 is 2/3, and the metrics say why."""
    hot_BC = np.eye(3)[[0, 2, 0]]
    said = Outcomes.of_probabilities(
        ids=["x", "y", "z"], probabilities_BC=hot_BC, gold_BC=hot_BC, labels=LabelSet(("a", "b", "c"))
    )
    metrics = compute_metrics(said)
    assert metrics["absent"] == ["b"]
    assert metrics["macro_f1"] == pytest.approx(2 / 3)
    several = LabelSet(("a", "b", "c"), multi_label=True)
    found = compute_metrics(
        Outcomes.of_probabilities(ids=["x"], probabilities_BC=hot_BC[:1], gold_BC=hot_BC[1:2], labels=several)
    )
    assert found["absent"] == ["b"]


@pytest.mark.parametrize("mode", ["classifier", "cot", "cascade"])
def test_l20_every_mode_says_so(mode: str, trained: Path, capsys: Any, tmp_path: Path) -> None:
    data = write_jsonl(tmp_path / "some.jsonl", rows(0, 1))
    options = ["--max-new-tokens", "4"] if mode != "classifier" else []
    options += ["--threshold", "0.5"] if mode == "cascade" else []
    ended: Ended = run_here(
        capsys, "evaluate", "--model", trained, "--data", data, "--mode", mode, "--device", "cpu",
        "--json", tmp_path / "metrics.json", *options,
    )  # fmt: skip
    assert ended.code == 0, ended.err
    absent = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))["absent"]
    assert {"2", "10", "11"} & set(absent)
    assert "Neither gold nor predicted here, F1 0 in macro_f1:" in ended.out


def test_l9_no_table_of_labels_by_labels_is_built_where_they_are_many() -> None:
    """20,000 labels: a dense table alone would take 3 GB, its resamples many times that."""
    num_labels, num_rows = 20_000, 40
    gold_B = np.arange(num_rows) // 2 * 900
    predicted_B = np.where(np.arange(num_rows) % 4 == 0, 19_999, gold_B)
    proba_BC, gold_BC = np.zeros((2, num_rows, num_labels), dtype=np.float32)
    proba_BC[np.arange(num_rows), predicted_B] = gold_BC[np.arange(num_rows), gold_B] = 1
    labels = LabelSet(tuple(map(str, range(num_labels))))
    said = Outcomes.of_probabilities(
        ids=[str(i) for i in range(num_rows)], probabilities_BC=proba_BC, gold_BC=gold_BC, labels=labels
    )
    metrics = compute_metrics(said, num_resamples=50)
    cells = {(gold, predicted): count for gold, predicted, count in metrics["confusion_matrix"]["cells"]}
    assert sum(cells.values()) == num_rows
    assert cells[0, 19_999] == cells[0, 0] == 1
    low, high = metrics["interval_95"]["weighted_f1"]
    assert low <= metrics["weighted_f1"] <= high


def test_l3_evaluation_reads_integers_by_the_authors_list(trained: Path) -> None:
    """Gold labels of an artifact with given names: a place in them, by number or by digits."""
    classifier = Classifier.from_pretrained(trained, device="cpu")
    names = ("one", "two", "three", "four", "five")
    object.__setattr__(classifier.info, "labels", LabelSet(names))
    given = [row for label in (3, "3", "four") for row in load_rows_of(label)]
    found = evaluate_classifier(classifier, given, num_resamples=1)
    assert found.outcomes.gold_B.tolist() == [3, 3, 3]


def load_rows_of(label: Any) -> Any:
    from dhrd.data.sources import open_source

    return open_source(rows(label), load_config().data).load()


def test_l18_class_weights_are_matched_by_what_the_names_are(tiny_backbone: Path, capsys: Any, tmp_path: Path) -> None:
    data = write_jsonl(tmp_path / "rows.jsonl", rows(1, 2, count=4))
    overrides = [f"model.name_or_path={tiny_backbone}", f"data.train={data}", f"output_dir={tmp_path / 'out'}",
                 "training.num_epochs=1", "training.mixed_precision=no", "loss.reasoning_weight=0"]  # fmt: skip
    bad = run_here(capsys, "train", "--device", "cpu", *flags([*overrides, "loss.class_weights={1: 2}"]))
    assert (bad.code, len(bad.error_lines)) == (2, 1)
    assert "give one weight for each of 1, 2; got 1" in bad.err
    good = run_here(capsys, "train", "--device", "cpu", *flags([*overrides, "loss.class_weights={1: 2, 2.0: 1}"]))
    assert good.code == 0, good.err
