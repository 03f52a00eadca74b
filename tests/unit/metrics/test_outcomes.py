"""Outcomes: from probabilities, to JSON and back, in parts and together, and two models' side by side."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dhrd.data.digest import input_digest
from dhrd.data.label_space import LabelSpace
from dhrd.data.records import EncodedExample, Example, LabelSet
from dhrd.data.templates import InputTemplate
from dhrd.errors import DataError
from dhrd.metrics.outcomes import Outcomes, groups_of, pair
from helpers.outcomes import assert_same, random_outcomes

ABC = LabelSet(("a", "b", "c"), ("an a", "a b", "a c"))
TAGS = LabelSet(("x", "y"), multi_label=True)


def _said(gold: list[int], predicted: list[int | None], ids: list[str] | None = None) -> Outcomes:
    eye = np.eye(3, dtype=np.int64)
    rows = [eye[one] if one is not None else np.zeros(3, dtype=np.int64) for one in predicted]
    return Outcomes(
        ids=ids or [f"r{i}" for i in range(len(gold))], gold_BC=eye[gold], predicted_BC=np.array(rows), labels=ABC
    )


@pytest.mark.parametrize("labels", [ABC, TAGS], ids=["single", "multi"])
def test_predictions_to_outcomes_to_json_and_back(labels: LabelSet) -> None:
    outcomes = random_outcomes(labels)
    p_BC = outcomes.probabilities_BC
    assert p_BC is not None
    said_BC = p_BC >= 0.5 if labels.multi_label else p_BC == p_BC.max(axis=1, keepdims=True)
    np.testing.assert_array_equal(outcomes.predicted_BC, said_BC)
    assert outcomes.readable_B.all()
    hits = (said_BC == outcomes.gold_BC).all(axis=1)
    np.testing.assert_array_equal(outcomes.hits_B, hits)
    assert 0 < hits.sum() < 40
    assert_same(Outcomes.from_json(json.loads(json.dumps(outcomes.to_json()))), outcomes)


def test_parts_together_are_the_whole_with_their_groups() -> None:
    whole = replace(random_outcomes(ABC), group_B=[f"g{i // 4}" for i in range(40)])
    parts = [whole.rows(range(15)), whole.rows(range(15, 40))]
    again = Outcomes.concatenate(parts, ABC)
    assert_same(again, whole)
    assert again.group_B == whole.group_B
    half = Outcomes.concatenate([replace(parts[0], group_B=None), parts[1]], ABC)
    assert half.group_B == [None] * 15 + list(parts[1].group_B or ())
    assert Outcomes.concatenate([], ABC).ids == []


def test_a_row_that_cannot_be_read_has_a_class_of_its_own() -> None:
    outcomes = _said([0, 2, 1], [0, None, 2])
    assert outcomes.gold_B.tolist() == [0, 2, 1]
    assert outcomes.predicted_B.tolist() == [0, 3, 2]


def test_groups_are_known_where_every_row_has_one() -> None:
    grouped = [Example(id="a", group="p"), Example(id="b", group="q")]
    assert groups_of(grouped) == ["p", "q"]
    assert groups_of([*grouped, Example(id="c")]) == ["p", "q", None]
    assert groups_of([Example(id="c")]) is None


def test_encoded_rows_keep_their_groups_in_a_file() -> None:
    rows = [EncodedExample(id=f"r{i}", input_ids=[1], continuation_ids=[], label=(i % 3,)) for i in range(4)]
    p_BC = np.eye(3)[[0, 1, 2, 0]]
    assert "groups" not in Outcomes.of_encoded(rows, p_BC, ABC).to_json()
    grouped = [replace(row, group=group) for row, group in zip(rows, ("p", "p", None, "q"), strict=True)]
    told = Outcomes.of_encoded(grouped, p_BC, ABC).to_json()
    assert told["groups"] == Outcomes.from_json(told).group_B == ["p", "p", None, "q"]


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
    with pytest.raises(DataError, match=r"not a model's outcomes .*; evaluate again"):
        Outcomes.from_json(_said([0, 2, 1], [0, None, 2]).to_json() | change)
    with pytest.raises(DataError, match="KeyError: 'labels'"):
        Outcomes.from_json({})


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
    (_said([0, 1, 2], [0, 0, 0], ["r0", "r1", "r1"]), "B: the id 'r1' occurs 2 times"),
    (_said([0], [0]).rows([]), "B: there are no rows to compare"),
]


@pytest.mark.parametrize(("other", "problem"), DIFFERENT, ids=[problem for _, problem in DIFFERENT])
def test_what_differs_is_said(other: Outcomes, problem: str) -> None:
    with pytest.raises(DataError) as caught:
        pair(_said([0, 1, 2], [0, 0, 0]), other, ("A", "B"))
    assert problem in str(caught.value)


def test_rows_without_ids_may_be_the_same_ones() -> None:
    """Their ids are digests of what a template reads; another's are others."""
    names = [input_digest({"text": f"row {i}", "title": "x"}, InputTemplate("{{ text }}")) for i in range(2)]
    others = [
        input_digest({"text": f"row {i}", "title": "x"}, InputTemplate("{{ title }} {{ text }}")) for i in range(2)
    ]
    a = _said([0, 1, 2], [0, 0, 0], [*names, f"{names[0]}-2"])
    with pytest.raises(DataError) as caught:
        pair(a, _said([0, 1, 2], [0, 0, 0], [*others, f"{others[0]}-2"]), ("A", "B"))
    assert str(caught.value) == (
        f"the rows differ: 3 only in A ({names[0]!r} …), 3 only in B ({min(others)!r} …); rows without ids are named "
        "by the text that each model's template reads: add an `id` column (data.columns.id), and evaluate both on the "
        "same rows"
    )
    for other in (_said([0, 1, 2], [0, 0, 0], [*names, "r2"]), _said([0, 1], [0, 0], names)):
        with pytest.raises(DataError, match=r"…\); evaluate both on the same rows$"):
            pair(a, other, ("A", "B"))


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


def test_outcomes_of_several_tasks_are_those_of_each() -> None:
    space = LabelSpace.of({"letter": ABC, "mark": TAGS})
    p_BC = np.array([[0.2, 0.5, 0.3, 0.9, 0.6], [0.7, 0.2, 0.1, 0.4, 0.1], [0.1, 0.1, 0.8, 0.5, 0.2]])
    gold_BC = np.array([[0, 1, 0, 1, 1], [0, 0, 0, 0, 0], [1, 0, 0, 0, 0]])
    both = Outcomes.of_probabilities(["r0", "r1", "r2"], gold_BC, p_BC, space, unlabelled=[(), (0,), (1,)])
    letter, mark = (both.of_task(task) for task in space.tasks)
    assert (letter.ids, mark.ids) == (["r0", "r2"], ["r0", "r1"])
    assert_same(letter, Outcomes.of_probabilities(["r0", "r2"], gold_BC[[0, 2], :3], p_BC[[0, 2], :3], ABC))
    assert_same(mark, Outcomes.of_probabilities(["r0", "r1"], gold_BC[:2, 3:], p_BC[:2, 3:], TAGS))
    assert letter.hits_B.tolist() == [True, False] and mark.hits_B.tolist() == [True, True]
    halves = Outcomes.concatenate([both.rows([0]), both.rows([1, 2])], space)
    assert_same(halves.of_task(space.tasks[1]), mark)
    whole = Outcomes.of_probabilities(["r0"], gold_BC[:1], p_BC[:1], space)
    assert whole.unlabelled_BJ is None and whole.of_task(space.tasks[0]).ids == ["r0"]
