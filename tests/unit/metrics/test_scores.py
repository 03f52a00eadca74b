"""Metrics as functions of sums, against `compute_metrics` and scikit-learn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse
from sklearn.metrics import accuracy_score, f1_score

from dhrd.data.records import LabelSet
from dhrd.data.superglue import TASKS
from dhrd.errors import ConfigError, DataError
from dhrd.metrics.metrics import compute_metrics
from dhrd.metrics.outcomes import Outcomes
from dhrd.metrics.scores import clusters, score, strata

MULTIRC = TASKS["multirc"]


def _random(rng: np.random.Generator, *, multi_label: bool = False) -> Outcomes:
    """Few rows of many labels, so that some labels are in neither gold nor predictions."""
    num_rows, num_labels = int(rng.integers(1, 30)), int(rng.integers(2, 9))
    if multi_label:
        gold = (rng.random((num_rows, num_labels)) < 0.2).astype(np.int64)
        p = rng.random((num_rows, num_labels)) * 0.6
    else:
        gold = np.eye(num_labels, dtype=np.int64)[rng.integers(0, num_labels, num_rows)]
        p = rng.dirichlet(np.full(num_labels, 0.3), num_rows)
    labels = LabelSet(tuple(map(str, range(num_labels))), multi_label=multi_label)
    return Outcomes.of_probabilities(
        ids=[f"r{i}" for i in range(num_rows)], probabilities_BC=p, gold_BC=gold, labels=labels
    )


def _multirc(rng: np.random.Generator, num_paragraphs: int = 6) -> Outcomes:
    ids = [
        f"multirc-dev-{p}-{q}-{a}"
        for p in range(num_paragraphs)
        for q in range(rng.integers(1, 4))
        for a in range(rng.integers(1, 4))
    ]
    ids = [ids[i] for i in rng.permutation(len(ids))]
    p_B = rng.random(len(ids))
    gold = np.eye(2, dtype=np.int64)[rng.integers(0, 2, len(ids))]
    labels = LabelSet(MULTIRC.labels)
    return Outcomes.of_probabilities(
        ids=ids, probabilities_BC=np.stack([p_B, 1 - p_B], axis=1), gold_BC=gold, labels=labels
    )


@pytest.mark.parametrize("multi_label", [False, True])
def test_scores_are_those_of_compute_metrics(multi_label: bool) -> None:
    rng = np.random.default_rng(0)
    names = ["accuracy", "macro_f1", "weighted_f1", *(["micro_f1"] if multi_label else [])]
    num_empty = 0
    for _ in range(100):
        predictions = _random(rng, multi_label=multi_label)
        expected = compute_metrics(predictions, intervals=False)
        num_empty += int((predictions.gold_BC + predictions.predicted_BC).sum(axis=0).min() == 0)
        for name in names:
            assert score(name).of(predictions) == pytest.approx(expected[name], abs=1e-12), name
    assert num_empty > 10


def test_multircs_scores_are_those_of_compute_metrics() -> None:
    rng = np.random.default_rng(1)
    for _ in range(40):
        predictions = _multirc(rng)
        expected = compute_metrics(predictions, task=MULTIRC, intervals=False)
        for name in ("f1a", "em", "accuracy", "macro_f1"):
            found = score(name, MULTIRC).of(predictions)
            assert found == pytest.approx(expected[name], abs=1e-12), name


@pytest.mark.parametrize("name", ["accuracy", "macro_f1", "weighted_f1", "micro_f1", "f1a"])
def test_weighted_sums_are_the_metric_of_repeated_rows(name: str) -> None:
    rng = np.random.default_rng(2)
    outcomes = _multirc(rng, 20)
    found = score(name, MULTIRC)
    weights = rng.integers(0, 4, (5, 3, len(outcomes.ids)))
    values = found.value(weights.astype(float) @ sparse.csr_array(found.features(outcomes)).toarray())
    assert values.shape == (5, 3)
    for index in np.ndindex(5, 3):
        repeated = np.repeat(np.arange(len(outcomes.ids)), weights[index])
        gold, predicted = (hot.argmax(axis=1)[repeated] for hot in (outcomes.gold_BC, outcomes.predicted_BC))
        if name == "accuracy":
            expected = accuracy_score(gold, predicted)
        else:
            average = {"f1a": "binary"}.get(name, name.removesuffix("_f1"))
            expected = f1_score(gold, predicted, average=average, labels=[0, 1], zero_division=0)
        assert values[index] == pytest.approx(expected, abs=1e-12)


def test_exactness_of_a_question_stands_on_its_first_row() -> None:
    ids = ["multirc-dev-0-0-0", "multirc-dev-0-1-0", "multirc-dev-0-0-1", "multirc-dev-0-1-1"]
    eye = np.eye(2, dtype=np.int64)
    outcomes = Outcomes(
        ids=ids, gold_BC=eye[[0, 1, 1, 0]], predicted_BC=eye[[0, 1, 1, 1]], labels=LabelSet(MULTIRC.labels)
    )
    assert score("em", MULTIRC).features(outcomes).tolist() == [[1, 1], [0, 1], [0, 0], [0, 0]]


def test_an_unreadable_answer_is_a_missed_label_and_no_predicted_one() -> None:
    eye = np.eye(2, dtype=np.int64)
    predicted = np.array([[1, 0], [0, 0], [0, 0], [0, 1]])
    outcomes = Outcomes(
        ids=list("abcd"), gold_BC=eye[[0, 0, 1, 1]], predicted_BC=predicted, labels=LabelSet(("n", "y"))
    )
    assert score("accuracy").of(outcomes) == 0.5
    assert score("macro_f1").of(outcomes) == pytest.approx(2 * 1 / (1 + 2))  # 2 tp / (predicted + gold) of each


def test_clusters_are_rows_or_paragraphs() -> None:
    outcomes = _multirc(np.random.default_rng(3))
    paragraphs = [one.split("-")[2] for one in outcomes.ids]
    found = clusters(outcomes, MULTIRC)
    for i, j in np.ndindex(len(paragraphs), len(paragraphs)):
        assert (found[i] == found[j]) == (paragraphs[i] == paragraphs[j])
    assert clusters(outcomes).tolist() == clusters(outcomes, TASKS["boolq"]).tolist() == list(range(len(paragraphs)))


def test_a_row_without_a_group_stands_alone() -> None:
    outcomes = replace(_random(np.random.default_rng(3)), group_B=None)
    grouped = replace(outcomes.rows(range(5)), group_B=["p", None, "q", "p", None])
    assert clusters(grouped).tolist() == [0, 1, 2, 0, 3]


def test_multirc_refuses_other_ids_and_labels() -> None:
    eye = np.eye(2, dtype=np.int64)
    given = {"ids": ["r0"], "gold_BC": eye[[0]], "predicted_BC": eye[[0]]}
    with pytest.raises(DataError, match="'r0': a MultiRC id is multirc-SPLIT-PARAGRAPH-QUESTION-ANSWER"):
        clusters(Outcomes(**given, labels=LabelSet(MULTIRC.labels)), MULTIRC)
    with pytest.raises(DataError, match="multirc has the labels false, true; the predictions have a, b"):
        clusters(Outcomes(**given, labels=LabelSet(("a", "b"))), MULTIRC)


def test_strata_are_gold_classes_for_f1_over_classes() -> None:
    rng = np.random.default_rng(4)
    single, several = (_random(rng, multi_label=multi_label) for multi_label in (False, True))
    for name in ("macro_f1", "weighted_f1"):
        assert strata(single, score(name)).tolist() == single.gold_BC.argmax(axis=1).tolist()
        assert not strata(several, score(name)).any()
    assert not strata(single, score("accuracy")).any()


def test_an_unknown_metric_is_refused() -> None:
    with pytest.raises(ConfigError, match="'f2' cannot be compared; give one of accuracy, macro_f1, weighted_f1, mic"):
        score("f2")
    with pytest.raises(ConfigError, match="micro_f1; f1a and em need the task multirc"):
        score("f1a", TASKS["cb"])
    assert {name: score(name, task).name for task in TASKS.values() for name in task.metrics} == {
        name: name for name in ("accuracy", "macro_f1", "f1a", "em")
    }
