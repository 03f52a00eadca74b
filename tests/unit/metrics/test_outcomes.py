"""Outcomes: from predictions and files, to JSON and back, and two models' side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dhrd.data.records import LabelSet
from dhrd.errors import DataError
from dhrd.evaluation.evaluate import Evaluation
from dhrd.metrics.metrics import Predictions
from dhrd.metrics.outcomes import Outcomes, pair, read_outcomes, read_together
from helpers.rows import write_jsonl

ABC = LabelSet(("a", "b", "c"), ("an a", "a b", "a c"))
TAGS = LabelSet(("x", "y"), multi_label=True)
P = {"a": 0.2, "b": 0.5, "c": 0.3}


def _said(gold: list[int], predicted: list[int | None], ids: list[str] | None = None) -> Outcomes:
    eye = np.eye(3, dtype=np.int64)
    rows = [eye[one] if one is not None else np.zeros(3, dtype=np.int64) for one in predicted]
    return Outcomes(
        ids=ids or [f"r{i}" for i in range(len(gold))], gold_BC=eye[gold], predicted_BC=np.array(rows), labels=ABC
    )


def _same(a: Outcomes, b: Outcomes) -> None:
    assert (a.ids, a.labels) == (b.ids, b.labels)
    for name in ("gold_BC", "predicted_BC", "readable_B"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert (a.probabilities_BC is None) == (b.probabilities_BC is None)
    if a.probabilities_BC is not None and b.probabilities_BC is not None:
        np.testing.assert_allclose(a.probabilities_BC, b.probabilities_BC, atol=5e-7)


def _predictions(labels: LabelSet, num_rows: int = 40) -> Predictions:
    rng = np.random.default_rng(0)
    if labels.multi_label:
        gold, p = rng.integers(0, 2, (num_rows, len(labels))), rng.random((num_rows, len(labels)))
    else:
        gold = np.eye(len(labels))[rng.integers(0, len(labels), num_rows)]
        p = rng.dirichlet(np.ones(len(labels)), num_rows)
    return Predictions(ids=[f"r{i}" for i in range(num_rows)], probabilities_BC=p, gold_BC=gold, labels=labels)


@pytest.mark.parametrize("labels", [ABC, TAGS], ids=["single", "multi"])
def test_predictions_to_outcomes_to_json_and_back(labels: LabelSet) -> None:
    predictions = _predictions(labels)
    outcomes = Outcomes.of(predictions)
    np.testing.assert_array_equal(outcomes.predicted_BC, predictions.predicted_BC)
    assert outcomes.readable_B.all()
    hits = (predictions.predicted_BC == predictions.gold_BC).all(axis=1)
    np.testing.assert_array_equal(outcomes.hits_B, hits)
    assert 0 < hits.sum() < 40
    _same(Outcomes.from_json(json.loads(json.dumps(outcomes.to_json()))), outcomes)


def test_json_is_compact_and_null_where_unreadable() -> None:
    assert _said([0, 2, 1], [0, None, 2]).to_json() == {
        "ids": ["r0", "r1", "r2"],
        "gold": [0, 2, 1],
        "predicted": [0, None, 2],
        "probabilities": None,
        "labels": {"names": ["a", "b", "c"], "words": ["an a", "a b", "a c"], "multi_label": False},
    }
    p_BC = np.array([[1 / 3, 2 / 3]])
    hot = np.array([[0, 1]])
    tags = Outcomes(ids=["r"], gold_BC=hot, predicted_BC=1 - hot, labels=TAGS, probabilities_BC=p_BC).to_json()
    assert (tags["gold"], tags["predicted"], tags["probabilities"]) == ([[1]], [[0]], [[0.333333, 0.666667]])


def test_an_unreadable_answer_is_wrong_even_where_no_label_is_right() -> None:
    assert _said([0, 2, 1], [0, None, 2]).hits_B.tolist() == [True, False, False]
    none = np.zeros((2, 2), dtype=np.int64)
    tags = Outcomes(ids=["r", "s"], gold_BC=none, predicted_BC=none, labels=TAGS, readable_B=np.array([True, False]))
    assert tags.hits_B.tolist() == [True, False]
    again = Outcomes.from_json(tags.to_json())
    assert (again.to_json()["predicted"], again.hits_B.tolist()) == ([[], None], [True, False])


@pytest.mark.parametrize(
    "change",
    [{"gold": None}, {"predicted": [0]}, {"gold": [0, 7, 1]}, {"labels": {}}, {"probabilities": [[1]]}, {"ids": 3}],
    ids=str,
)
def test_json_of_another_kind_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=r"not the outcomes of a model .*; evaluate again"):
        Outcomes.from_json(_said([0, 2, 1], [0, None, 2]).to_json() | change)
    with pytest.raises(DataError, match="KeyError: 'labels'"):
        Outcomes.from_json({})


@pytest.mark.parametrize("labels", [LabelSet(("c", "a", "b")), TAGS], ids=["single", "multi"])
def test_what_evaluate_writes_is_read(tmp_path: Path, labels: LabelSet) -> None:
    predictions = _predictions(labels)
    rows = Evaluation(metrics={}, predictions=predictions, texts=[""] * 40).rows()
    _same(read_outcomes(write_jsonl(tmp_path / "p.jsonl", rows)), Outcomes.of(predictions))


def test_written_answers_are_read_with_the_labels_of_the_classifier_beside_them(tmp_path: Path) -> None:
    cot = [{"id": "r0", "gold": "a", "label": None, "probabilities": None}, {"id": "r1", "gold": "c", "label": "a"}]
    path = write_jsonl(tmp_path / "cot.jsonl", cot)
    alone = read_outcomes(path)
    assert alone.labels.names == ("a", "c")
    assert alone.probabilities_BC is None
    pooled = [{"id": "r1", "gold": "c", "label": "b", "probabilities": {"c": 0.1, "b": 0.6, "a": 0.3}}]
    both = read_together([path, write_jsonl(tmp_path / "pooled.jsonl", pooled)])
    assert [one.labels.names for one in both] == [("c", "b", "a")] * 2
    assert both[0].to_json()["predicted"] == [None, 2]
    assert read_outcomes(path, ABC).labels is ABC
    tags = [{"id": "r", "gold": [], "label": None}, {"id": "s", "gold": ["y", "x"], "label": ["x", "y"]}]
    found = read_outcomes(write_jsonl(tmp_path / "tags.jsonl", tags))
    assert (found.labels, found.hits_B.tolist()) == (TAGS, [False, True])


BAD = [
    ({"gold": "a", "label": "a"}, "id: missing; give a file that `dhrd evaluate --predictions` wrote"),
    ({"id": "r1", "label": "a"}, "gold: missing"),
    ({"id": "r1", "gold": "a"}, "label: missing"),
    ({"id": "r1", "gold": None, "label": "a"}, "gold: None is not the name of a label"),
    ({"id": "r1", "gold": "a", "label": 1}, "label: 1 is not the name of a label"),
    ({"id": "r1", "gold": "a", "label": "d"}, "label: 'd' is unknown; labels are 'a', 'b', 'c'"),
    ({"id": "r1", "gold": "a", "label": ["a"]}, "label: a list (['a']) where one label is expected"),
    ({"id": 1, "gold": "a", "label": "a"}, "id: 1 is not text"),
    ({"id": "r0", "gold": "a", "label": "a"}, "id: 'r0' is there twice, first in "),
    ({"id": "r1", "gold": "a", "label": "a", "probabilities": {"a": 1}}, "probabilities: an object with a number"),
    ({"id": "r1", "gold": "a", "label": "a", "probabilities": P | {"a": "1"}}, "probabilities: a: '1' is not a finite"),
    (
        {"id": "r1", "gold": "a", "label": "a", "probabilities": P | {"b": float("nan")}},
        "probabilities: b: nan is not a finite",
    ),
    ([1], "a row must be an object"),
]


@pytest.mark.parametrize(("row", "problem"), BAD, ids=[problem for _, problem in BAD])
def test_a_malformed_row_is_named(tmp_path: Path, row: Any, problem: str) -> None:
    good = {"id": "r0", "gold": "a", "label": "b", "probabilities": P}
    path = write_jsonl(tmp_path / "p.jsonl", [good, row])
    with pytest.raises(DataError) as caught:
        read_outcomes(path)
    assert f"p.jsonl:2: {problem}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_empty_missing_or_not_json(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"p\.jsonl: there are no rows; give a file that `dhrd evaluate"):
        read_outcomes(write_jsonl(tmp_path / "p.jsonl", []))
    with pytest.raises(DataError, match=r"none\.jsonl: no such file"):
        read_outcomes(tmp_path / "none.jsonl")
    (tmp_path / "p.jsonl").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match=r"p\.jsonl:1: not valid JSON"):
        read_outcomes(tmp_path / "p.jsonl")


def test_a_pair_is_in_the_order_of_the_first() -> None:
    a = _said([0, 1, 2], [0, 1, None])
    b = _said([2, 0, 1], [2, None, 0], ["r2", "r0", "r1"])
    first, second = pair(a, b)
    assert first is a
    assert second.ids == a.ids
    assert second.to_json()["predicted"] == [None, 0, 2]
    assert pair(a, a) == (a, a)


DIFFERENT = [
    (_said([0, 1, 2], [0, 0, 0], ["r0", "r1", "s2"]), "1 only in A ('r2' …), 1 only in B ('s2' …); evaluate both"),
    (_said([0, 1], [0, 0]), "the rows differ: 1 only in A ('r2' …); evaluate both on the same rows"),
    (_said([0, 1, 2, 0], [0, 0, 0, 0]), "the rows differ: 1 only in B ('r3' …)"),
    (_said([0, 2, 2], [0, 0, 0]), "row 'r1': gold is b in A and c in B (1 of 3 rows differ so)"),
    (_said([0, 1, 2], [0, 0, 0], ["r0", "r1", "r1"]), "B: the id 'r1' is there 2 times"),
    (_said([0], [0]).rows([]), "B: there are no rows to compare"),
]


@pytest.mark.parametrize(("other", "problem"), DIFFERENT, ids=[problem for _, problem in DIFFERENT])
def test_what_differs_is_said(other: Outcomes, problem: str) -> None:
    with pytest.raises(DataError) as caught:
        pair(_said([0, 1, 2], [0, 0, 0]), other, ("A", "B"))
    assert problem in str(caught.value)


def test_other_labels_are_refused() -> None:
    hot = np.array([[0, 1]])
    one = Outcomes(ids=["r"], gold_BC=hot, predicted_BC=hot, labels=LabelSet(("x", "y")))
    tags = Outcomes(ids=["r"], gold_BC=hot, predicted_BC=hot, labels=TAGS)
    with pytest.raises(DataError, match="the labels differ: A has x, y; B has a, b, c: compare models of one label"):
        pair(one, _said([0], [0], ["r"]), ("A", "B"))
    with pytest.raises(DataError, match=r"has x, y; the other has x, y \(several at once\)"):
        pair(one, tags)
    worded = Outcomes(ids=["r"], gold_BC=hot, predicted_BC=hot, labels=LabelSet(("x", "y"), ("an x", "a y")))
    assert pair(one, worded) == (one, worded)  # how an answer is written is no difference
