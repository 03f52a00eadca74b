"""Rows from files and from Python: what is read, what is refused and what is said. The letters name reported cases."""

from __future__ import annotations

import io
import json
import math
import sys
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import dhrd
from dhrd import Classifier, DataError, Example
from dhrd.config import DataSettings, load_config
from dhrd.data.rows import load_rows
from dhrd.data.sources import open_source
from helpers.reading import PLAIN, error_of, load, write
from helpers.rows import write_jsonl
from helpers.runs import make_config, read_jsonl, run_here
from helpers.tables import TABLES, TEXTS

# Files


def test_a14_values_are_clipped_in_messages() -> None:
    for value in (list(range(500_000)), {"a": ["b" * 1000] * 1000}, "x" * 10**7 + "\ud83d"):
        found = error_of([{"input_text": value, "label": "x"}])
        assert len(found) < 301
    for field in ("rationale", "id", "group"):
        found = error_of([{"input_text": "a", "label": "x", field: list(range(500_000))}])
        assert len(found) < 301
        assert found.startswith(f"row 0: {field}: [0, 1, 2")


# Rows in Python


@pytest.fixture(scope="module")
def artifact(tiny_backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained on a column called `text`."""
    folder = tmp_path_factory.mktemp("artifact")
    config = make_config(tiny_backbone, folder, "training.num_epochs=1", "data.columns.input_text=text")
    for name in ("train", "validation"):
        path = folder / f"{name}.jsonl"
        write_jsonl(path, [{**row, "text": row.pop("input_text")} for row in read_jsonl(path)])
    return dhrd.train(config).output_dir


@pytest.fixture(scope="module")
def classifier(artifact: Path) -> Classifier:
    return Classifier.from_pretrained(artifact, device="cpu", dtype=None)


FORMATS = (None, "arrow", "numpy", "pandas", "torch")


@pytest.mark.parametrize(
    "kind", ["DataFrame", "dict of lists", "pyarrow Table", "Dataset, arrow", "a slice of a Dataset"]
)
def test_s3_s4_every_entry_takes_tables(artifact: Path, classifier: Classifier, kind: str) -> None:
    expected = classifier.predict_proba(TEXTS)
    table = TABLES[kind]
    assert np.allclose(classifier.predict_proba(table()), expected)
    assert classifier.predict(table()) == classifier.predict(TEXTS)
    assert [one.text for one in classifier.stream(table())] == TEXTS
    assert [one.text for one in classifier.explain(table(), max_new_tokens=2)] == TEXTS
    found = [row["probabilities"] for row in dhrd.predict(artifact, table(), device="cpu", dtype=None)]
    assert np.allclose([list(row.values()) for row in found], expected)


def test_s3_training_and_evaluation_take_a_table(artifact: Path) -> None:
    frame = pd.DataFrame({"text": TEXTS, "label": ["keep", "return", "repair"], "id": [1.0, 2.0, float("nan")]})
    config = load_config(data__columns={"input_text": "text"}, loss__reasoning_weight=0)
    rows = load_rows(config, frame, frame.to_dict("list")).train
    assert [(row.input_text, row.label) for row in rows] == list(zip(TEXTS, frame["label"], strict=True))
    assert [row.id for row in rows[:2]] == ["1", "2"]
    assert rows[2].id == rows[2].digest, "an id that is missing"
    assert dhrd.evaluate(artifact, frame, device="cpu").metrics["num_examples"] == 3


@pytest.mark.parametrize(
    "rows",
    [5, 2.5, None, True, b"bytes", bytearray(b"b"), Path("a.jsonl"), {"a", "b"}, object(), datetime(2026, 1, 1)]
    + [np.array("a text"), np.float32(1), io.StringIO("a")],
)
def test_decision_4_anything_else_is_named_by_its_type(classifier: Classifier, rows: Any) -> None:
    entries = (classifier.predict, classifier.predict_proba, classifier.explain, lambda r: list(classifier.stream(r)))
    for entry in entries:
        with pytest.raises(DataError, match=f"rows: got a {type(rows).__name__} .*; give texts, dicts or Examples"):
            entry(rows)
    if not isinstance(rows, Path):
        with pytest.raises(DataError, match=f"rows: got a {type(rows).__name__} "):
            open_source(rows, PLAIN)


@pytest.mark.parametrize(
    "row", [5, None, b"bytes", ["a"], ("a", "b"), object(), 2.5, np.int64(3), True, pd.Series(["a"])]
)
def test_decision_4_a_row_that_is_none_is_named_by_its_type(classifier: Classifier, row: Any) -> None:
    with pytest.raises(DataError, match=f"row 1: a row must be .* or an Example, got a {type(row).__name__}"):
        classifier.predict(["a", row])
    assert "row 1: a row must be a text, a dict or an Example" in error_of(["a", row], labels_required=False)


NO_TEXT: dict[str, Any] = {
    "NaN": float("nan"),
    "number": 5,
    "list": ["a", "b"],
    "bytes": b"x",
    "boolean": True,
    "NumPy number": np.float32(1),
    "NumPy boolean": np.bool_(True),
    "dict": {"a": 1},
    "NA": pd.NA,
    "NaT": pd.NaT,
    "None": None,
    "Decimal": Decimal(3),
    "date": datetime(2026, 1, 1),
    "tensor": torch.tensor([1]),
}


@pytest.mark.parametrize("kind", NO_TEXT)
def test_s5_what_is_no_text_is_refused_everywhere(classifier: Classifier, kind: str) -> None:
    row = {"input_text": NO_TEXT[kind]}
    expected = r"row 1: input_text: (missing|there is no|.* is not text)"
    for entry in (
        classifier.predict,
        classifier.predict_proba,
        classifier.explain,
        lambda r: list(classifier.stream(r)),
    ):
        with pytest.raises(DataError, match=expected):
            entry([{"input_text": "a"}, row])
    with pytest.raises(DataError, match=expected):
        load([{"input_text": "a", "label": "x"}, {**row, "label": "x"}])


@pytest.mark.parametrize("where", ["text", "Example", "dict", "DataFrame", "another column", "nested"])
def test_s7_half_an_emoji_is_refused_from_every_entry(classifier: Classifier, where: str) -> None:
    half = "a\ud83d"
    rows: dict[str, Any] = {
        "text": [half],
        "Example": [Example(input_text=half, label="keep")],
        "dict": [{"input_text": half, "label": "keep"}],
        "DataFrame": pd.DataFrame({"input_text": pd.Series([half], dtype=object), "label": ["keep"]}),
    }
    template = {"another column": "{{ title }}", "nested": "{{ meta.title }}"}.get(where, "{{ input_text }}")
    given = rows.get(where, [{"title": half, "meta": {"title": half}, "label": "keep"}])
    for required in (True, False):
        found = error_of(given, DataSettings(input_template=template), labels_required=required)
        assert "is half of a surrogate pair, not text" in found
    if where in rows:
        for entry in (classifier.predict, classifier.predict_proba, classifier.explain):
            with pytest.raises(DataError, match="half of a surrogate pair"):
                entry(given)


def test_l14_predict_looks_at_the_id_and_the_template_alone(artifact: Path, tmp_path: Path, capsys: Any) -> None:
    odd = [1.0, float("nan"), {"a": 1}, [[1]], 2.5, "", True]
    rows = [{"text": "a", "id": 7.0, "label": label, "rationale": 3, "group": [], "x": "\ud83d"} for label in odd]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert len(list(dhrd.predict(artifact, rows, device="cpu"))) == len(odd)
    ended = run_here(capsys, "predict", "--model", artifact, "--input", path, "--output", tmp_path / "o.jsonl")
    assert ended.code == 0, ended.err
    assert [row["id"] for row in read_jsonl(tmp_path / "o.jsonl")] == ["7"] * len(odd)


def test_l19_the_mapping_of_columns_travels_with_the_artifact(artifact: Path, classifier: Classifier) -> None:
    expected = classifier.predict_proba(TEXTS)
    forms: list[Any] = [
        TEXTS,
        [{"text": text} for text in TEXTS],
        [{"input_text": text} for text in TEXTS],
        [Example(input_text=text) for text in TEXTS],
        [Example(fields={"text": text}) for text in TEXTS],
        {"text": TEXTS},
    ]
    for rows in forms:
        assert np.allclose(classifier.predict_proba(rows), expected)
        found = [list(row["probabilities"].values()) for row in dhrd.predict(artifact, rows, device="cpu", dtype=None)]
        assert np.allclose(found, expected)
    assert json.loads((artifact / "dhrd.json").read_text())["columns"] == {"input_text": "text"}
    with pytest.raises(DataError, match=r"row 0: input_text: missing; the row has body"):
        classifier.predict([{"body": "a"}])


def test_l19_a_mapping_that_is_given_wins_over_the_artifacts(artifact: Path, classifier: Classifier) -> None:
    rows = [{"text": "not this", "body": text} for text in TEXTS]
    config = load_config(data__columns={"input_text": "body"})
    found = dhrd.predict(artifact, rows, config=config, device="cpu", dtype=None)
    expected = classifier.predict_proba(TEXTS)
    assert np.allclose([list(row["probabilities"].values()) for row in found], expected)


# Standard input and pipes


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    def give(text: str) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))

    return give


def test_f19_a_dash_is_standard_input(
    artifact: Path, tmp_path: Path, capsys: Any, stdin: Callable[[str], None]
) -> None:
    lines = "".join(json.dumps({"id": f"i{n}", "text": text, "label": "keep"}) + "\n" for n, text in enumerate(TEXTS))
    stdin(lines)
    ended = run_here(capsys, "predict", "--model", artifact, "--input", "-", "--output", tmp_path / "o.jsonl")
    assert ended.code == 0, ended.err
    assert [row["id"] for row in read_jsonl(tmp_path / "o.jsonl")] == ["i0", "i1", "i2"]
    stdin(lines)
    ended = run_here(capsys, "evaluate", "--model", artifact, "--data", "-", "--json", tmp_path / "m.json")
    assert ended.code == 0, ended.err
    assert json.loads((tmp_path / "m.json").read_text())["num_examples"] == 3
    stdin("not json\n")
    ended = run_here(capsys, "predict", "--model", artifact, "--input", "-", "--output", tmp_path / "p.jsonl")
    assert ended.code == 2
    assert ended.error_lines[0].startswith("dhrd: error: -:1: not valid JSON")


def test_f19_dev_stdin_needs_no_suffix(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "rows.jsonl", [{"input_text": "a", "label": "x"}])
    with path.open("rb") as file:
        assert [row.input_text for row in load(f"/dev/fd/{file.fileno()}")] == ["a"]


# What holds, and stays


def test_rows_are_read_or_refused_by_line_as_before(tmp_path: Path) -> None:
    for text in ("input_text,label\r\na,x\r\n", "input_text,label\ra,x\r", '\ufeffinput_text,label\n"a",x\n'):
        assert [row.input_text for row in load(write(tmp_path / "a.csv", text))] == ["a"]
    assert load(write(tmp_path / "a.csv", 'input_text,label\n"a\nb",x\n'))[0].input_text == "a\nb"
    assert [row.label for row in load([{"input_text": "a", "label": "NA"}, {"input_text": "b", "label": "null"}])] == [
        "NA",
        "null",
    ]
    assert math.isinf(load([{"input_text": "a", "label": "x", "n": math.inf}])[0].fields["n"])
