"""The files of `dhrd evaluate --predictions`: read as they were written, and refused by file and line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dhrd.data.records import LabelSet
from dhrd.decisions.decision import Decision, Rule
from dhrd.decisions.target import parse_target
from dhrd.errors import DataError
from dhrd.evaluation.evaluate import Evaluation
from dhrd.metrics.outcomes import Outcomes
from dhrd.metrics.prediction_files import read_together
from helpers.outcomes import assert_same, random_outcomes
from helpers.rows import write_jsonl

ABC = LabelSet(("a", "b", "c"), ("an a", "a b", "a c"))
TAGS = LabelSet(("x", "y"), multi_label=True)
P = {"a": 0.2, "b": 0.5, "c": 0.3}


def read_one(path: Path, labels: LabelSet | None = None) -> Outcomes:
    return read_together([path], labels)[0]


@pytest.mark.parametrize("labels", [LabelSet(("c", "a", "b")), TAGS], ids=["single", "multi"])
def test_what_evaluate_writes_is_read(tmp_path: Path, labels: LabelSet) -> None:
    alone = random_outcomes(labels)
    for outcomes in (alone, replace(alone, group_B=[None, *["text 1", "text 2", "text 3"] * 13])):
        rows = Evaluation(metrics={}, outcomes=outcomes, texts=[""] * 40).rows()
        assert_same(read_one(write_jsonl(tmp_path / "p.jsonl", rows)), outcomes)


def test_written_answers_are_read_with_the_labels_of_the_classifier_beside_them(tmp_path: Path) -> None:
    cot = [{"id": "r0", "gold": "a", "label": None, "probabilities": None}, {"id": "r1", "gold": "c", "label": "a"}]
    path = write_jsonl(tmp_path / "cot.jsonl", cot)
    alone = read_one(path)
    assert alone.labels.names == ("a", "c")
    assert alone.probabilities_BC is None
    pooled = [{"id": "r1", "gold": "c", "label": "b", "probabilities": {"c": 0.1, "b": 0.6, "a": 0.3}}]
    both = read_together([path, write_jsonl(tmp_path / "pooled.jsonl", pooled)])
    assert [one.labels.names for one in both] == [("c", "b", "a")] * 2
    assert both[0].to_json()["predicted"] == [None, 2]
    assert read_one(path, ABC).labels is ABC
    tags = [{"id": "r", "gold": [], "label": None}, {"id": "s", "gold": ["y", "x"], "label": ["x", "y"]}]
    found = read_one(write_jsonl(tmp_path / "tags.jsonl", tags))
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
    ({"id": "r1", "gold": "a", "label": "a", "group": 7}, "group: 7 is not text"),
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
        read_one(path)
    assert f"p.jsonl:2: {problem}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_empty_missing_or_not_json(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"p\.jsonl: there are no rows; give a file that `dhrd evaluate"):
        read_one(write_jsonl(tmp_path / "p.jsonl", []))
    with pytest.raises(DataError, match=r"none\.jsonl: no such file"):
        read_one(tmp_path / "none.jsonl")
    (tmp_path / "p.jsonl").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match=r"p\.jsonl:1: not valid JSON"):
        read_one(tmp_path / "p.jsonl")


@pytest.mark.parametrize("labels", [LabelSet(("c", "a", "b")), TAGS], ids=["single", "multi"])
def test_answers_that_a_decision_withheld_are_compared_as_all_others(tmp_path: Path, labels: LabelSet) -> None:
    """With and without a decision a model has the same metrics, so it is no better and no worse than itself."""
    outcomes = random_outcomes(labels)
    rule = Rule(target=parse_target("accuracy>=0.9", labels.names), threshold=0.7)
    decision = Decision(rules=(rule,), num_rows=9, fingerprint="f")
    rows = list(Evaluation(metrics={}, outcomes=outcomes, texts=[""] * 40, decision=decision).rows())
    assert 0 < sum(row["abstained"] for row in rows) < 40
    assert_same(read_one(write_jsonl(tmp_path / "p.jsonl", rows)), outcomes)
