"""Metrics against scikit-learn and by hand."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import numpy as np
import pytest
import sklearn.metrics as sk

from dhrd.data.records import LabelSet
from dhrd.data.superglue import TASKS
from dhrd.errors import ArtifactError, ConfigError, DataError
from dhrd.metrics.intervals import Resampling, wilson
from dhrd.metrics.metrics import check_metric, compute_metrics, higher_is_better, main_metric
from dhrd.metrics.outcomes import Outcomes
from dhrd.metrics.scores import score

ABC = LabelSet(("a", "b", "c"))
TAGS = LabelSet(("a", "b", "c"), multi_label=True)
MULTIRC = LabelSet(TASKS["multirc"].labels, TASKS["multirc"].words)


def _said(
    gold: list[int], predicted: list[int], labels: LabelSet = ABC, *, sure: float = 0.8, ids: list[str] | None = None
) -> Outcomes:
    """Predictions that give `sure` to the predicted label and share the rest among the others."""
    eye = np.eye(len(labels))
    probabilities = eye[predicted] * sure + (1 - eye[predicted]) * (1 - sure) / (len(labels) - 1)
    ids = ids or [f"row-{i}" for i in range(len(gold))]
    return Outcomes.of_probabilities(ids=ids, probabilities_BC=probabilities, gold_BC=eye[gold], labels=labels)


def _random(labels: LabelSet, num_rows: int, seed: int = 0) -> Outcomes:
    rng = np.random.default_rng(seed)
    shape = (num_rows, len(labels))
    if labels.multi_label:
        gold = rng.integers(0, 2, shape).astype(np.float64)
        probabilities = 0.4 * gold + 0.6 * rng.random(shape)
    else:
        gold = np.eye(len(labels))[rng.integers(0, len(labels), num_rows)]
        probabilities = rng.dirichlet(np.ones(len(labels)), num_rows) * 0.7 + gold * 0.3
    ids = [f"row-{i}" for i in range(num_rows)]
    return Outcomes.of_probabilities(ids=ids, probabilities_BC=probabilities, gold_BC=gold, labels=labels)


@pytest.mark.parametrize("names", [("no", "yes"), ("a", "b", "c"), tuple("abcdefg")])
def test_single_label_is_scikit_learns(names: tuple[str, ...]) -> None:
    predictions = _random(LabelSet(names), 137)
    gold, predicted, labels = predictions.gold_B, predictions.predicted_B, range(len(names))
    found = compute_metrics(predictions, intervals=False)
    assert found["num_examples"] == 137
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(gold, predicted), abs=1e-12)
    for average in ("macro", "weighted"):
        expected = sk.f1_score(gold, predicted, labels=labels, average=average, zero_division=0)
        assert found[f"{average}_f1"] == pytest.approx(expected, abs=1e-12)
    assert found["log_loss"] == pytest.approx(sk.log_loss(gold, predictions.probabilities_BC, labels=labels), abs=1e-12)
    assert found["confusion_matrix"] == {
        "labels": list(names),
        "counts": sk.confusion_matrix(gold, predicted, labels=labels).tolist(),
    }
    report = sk.classification_report(gold, predicted, target_names=names, output_dict=True, zero_division=0)
    assert list(found["per_class"]) == list(names)
    for name in names:
        expected = {"f1" if key == "f1-score" else key: value for key, value in report[name].items()}
        assert found["per_class"][name] == pytest.approx(expected, abs=1e-12)


def test_commitment_bank_by_hand() -> None:
    task = TASKS["cb"]
    # gold: 4 entailment, 3 contradiction, 1 neutral
    predictions = _said([0, 0, 0, 0, 1, 1, 1, 2], [0, 0, 0, 1, 1, 1, 0, 0], LabelSet(task.labels))
    found = compute_metrics(predictions, task=task)
    f1 = [2 * 3 / (4 + 5), 2 * 2 / (3 + 3), 0.0]  # 2 tp / (gold + predicted)
    assert found["accuracy"] == 5 / 8
    assert found["macro_f1"] == pytest.approx(sum(f1) / 3)
    assert found["weighted_f1"] == pytest.approx((4 * f1[0] + 3 * f1[1] + f1[2]) / 8)
    assert found["log_loss"] == pytest.approx(-(5 * math.log(0.8) + 3 * math.log(0.1)) / 8)
    assert found["confusion_matrix"]["counts"] == [[3, 1, 0], [1, 2, 0], [1, 0, 0]]
    assert found["per_class"]["contradiction"] == pytest.approx(
        {"precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3, "support": 3}
    )
    assert found["official"] == ["macro_f1", "accuracy"]
    assert found["interval_95"]["accuracy"] == list(wilson(5, 8))
    assert set(found["interval_95"]) == {"accuracy", "macro_f1", "weighted_f1"}


def _multirc() -> Outcomes:
    """Two paragraphs; questions 0-0 (all right), 0-1 (one wrong), 1-0 (all right), 1-1 (all wrong).

    Question 0 is there in both paragraphs, rows of a question are not adjacent, and a split's name may have hyphens.
    """
    rows = [  # id, gold, predicted
        ("multirc-validation-0-0-0", 1, 1),
        ("multirc-validation-1-0-0", 1, 1),
        ("multirc-validation-0-0-1", 0, 0),
        ("multirc-validation-0-1-0", 1, 0),
        ("multirc-validation-0-1-1", 0, 0),
        ("multirc-validation-0-1-2", 1, 1),
        ("multirc-validation-1-1-10", 0, 1),
    ]
    ids, gold, predicted = (list(column) for column in zip(*rows, strict=True))
    return _said(gold, predicted, MULTIRC, ids=ids)


def test_multirc_by_hand() -> None:
    found = compute_metrics(_multirc(), task=TASKS["multirc"])
    assert found["f1a"] == pytest.approx(2 * 3 / (4 + 4))  # 4 right answers, 4 called right, 3 of them rightly
    assert found["em"] == 2 / 4
    assert found["official"] == ["f1a", "em"]
    assert found["accuracy"] == pytest.approx(5 / 7)
    # A resample has the first paragraph twice (1/4 of the time), each once, or the second twice
    assert found["interval_95"]["f1a"] == pytest.approx([2 * 1 / (1 + 2), 2 * 2 / (3 + 2)])
    assert found["interval_95"]["em"] is None, "every resample has half of the questions right"


def test_multirc_at_length_against_plain_loops() -> None:
    rng = np.random.default_rng(5)
    ids = [f"multirc-dev-test-{p}-{q}-{a}" for p in range(30) for q in range(1 + p % 4) for a in range(2 + (p + q) % 3)]
    order = rng.permutation(len(ids))
    ids = [ids[i] for i in order]
    gold = rng.integers(0, 2, len(ids))
    predicted = np.where(rng.random(len(ids)) < 0.8, gold, 1 - gold)
    found = compute_metrics(_said(gold.tolist(), predicted.tolist(), MULTIRC, ids=ids), task=TASKS["multirc"])
    questions: dict[str, bool] = {}
    for row, right, said in zip(ids, gold, predicted, strict=True):
        question = row.rsplit("-", 1)[0]
        questions[question] = questions.get(question, True) and bool(right == said)
    assert len(questions) == 73
    assert found["em"] == pytest.approx(sum(questions.values()) / len(questions))
    assert found["f1a"] == pytest.approx(sk.f1_score(gold, predicted))
    for name in ("f1a", "em"):
        low, high = found["interval_95"][name]
        assert 0 < low < found[name] < high < 1


def test_multirc_refuses_other_ids_and_labels() -> None:
    with pytest.raises(DataError, match="'row-0': a MultiRC id is multirc-SPLIT-PARAGRAPH-QUESTION-ANSWER"):
        compute_metrics(_said([0], [1], MULTIRC), task=TASKS["multirc"])
    with pytest.raises(DataError, match="multirc has the labels false, true; the predictions have a, b, c"):
        compute_metrics(_said([0], [1]), task=TASKS["multirc"])


def test_every_task_gets_its_official_metrics() -> None:
    seen = set()
    for task in TASKS.values():
        ids = ["multirc-train-0-0-0", "multirc-train-0-0-1"]
        found = compute_metrics(_said([0, 1], [1, 1], LabelSet(task.labels), ids=ids), task=task)
        assert found["official"] == list(task.metrics)
        assert set(task.metrics) <= set(found) and set(task.metrics) <= set(found["interval_95"])
        seen.add(task.name)
    assert len(seen) == 7


def test_multi_label_is_scikit_learns() -> None:
    predictions = _random(TAGS, 90)
    gold, predicted = predictions.gold_BC, (predictions.probabilities_BC >= 0.5).astype(int)
    found = compute_metrics(predictions)
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(gold, predicted))
    for average in ("macro", "micro", "weighted"):
        expected = sk.f1_score(gold, predicted, average=average, zero_division=0)
        assert found[f"{average}_f1"] == pytest.approx(expected)
        low, high = found["interval_95"][f"{average}_f1"]
        assert low < expected < high
    per_label = [sk.log_loss(gold[:, c], predictions.probabilities_BC[:, c].astype(float)) for c in range(3)]
    assert found["log_loss"] == pytest.approx(np.mean(per_label))
    assert found["confusion_matrix"] == dict(
        zip("abc", sk.multilabel_confusion_matrix(gold, predicted).tolist(), strict=True)
    )


def test_multi_label_by_hand() -> None:
    predictions = Outcomes.of_probabilities(
        ids=["x", "y"],
        probabilities_BC=np.array([[0.9, 0.5, 0.2], [0.4, 0.1, 0.3]]),
        gold_BC=np.array([[1, 0, 0], [0, 0, 0]]),
        labels=TAGS,
    )
    assert predictions.predicted_BC.tolist() == [[1, 1, 0], [0, 0, 0]]  # 0.5 itself counts
    found = compute_metrics(predictions)
    assert found["accuracy"] == 0.5  # a row without labels is right when none is predicted
    assert found["macro_f1"] == pytest.approx(1 / 3)
    assert found["micro_f1"] == pytest.approx(2 / 3)
    assert found["confusion_matrix"] == {"a": [[1, 0], [0, 1]], "b": [[1, 1], [0, 0]], "c": [[2, 0], [0, 0]]}
    assert found["log_loss"] == pytest.approx(-np.log([0.9, 0.5, 0.8, 0.6, 0.9, 0.7]).mean())


def test_multi_label_interval_is_the_bootstrap_over_rows() -> None:
    predictions = _random(TAGS, 60, seed=2)
    gold, predicted = predictions.gold_BC, predictions.predicted_BC
    rng = np.random.default_rng(3)
    resamples: dict[str, list[float]] = {"macro": [], "micro": [], "weighted": []}
    for _ in range(500):
        rows = rng.integers(0, 60, 60)
        for average, values in resamples.items():
            values.append(sk.f1_score(gold[rows], predicted[rows], average=average, zero_division=0))
    found = compute_metrics(predictions, num_resamples=4000)["interval_95"]
    for average, values in resamples.items():
        assert found[f"{average}_f1"] == pytest.approx(np.quantile(values, [0.025, 0.975]).tolist(), abs=0.02)


def test_the_formula_of_the_resamples_is_scikit_learns() -> None:
    # Labels of unlike frequency that are over- and under-predicted, and one that is absent: no two averages coincide
    rng = np.random.default_rng(4)
    gold = (rng.random((80, 4)) < [0.7, 0.3, 0.1, 0.0]).astype(int)
    said = np.where(rng.random((80, 4)) < [0.2, 0.5, 0.1, 0.0], 1 - gold, gold)
    tags = LabelSet(tuple("abcd"), multi_label=True)
    several = Outcomes.of_probabilities(ids=["x"] * 80, probabilities_BC=said.astype(float), gold_BC=gold, labels=tags)
    one = _said([0] * 50 + [1] * 20 + [2] * 9, [0] * 25 + [1] * 30 + [0] * 15 + [2] * 9, LabelSet(tuple("abcd")))
    for predictions, averages in ((several, ("macro", "weighted", "micro")), (one, ("macro", "weighted"))):
        found = {
            average: float(Resampling.of([predictions], score(f"{average}_f1"), None, shape=()).observed())
            for average in averages
        }
        assert len(set(found.values())) == len(found) == (3 if predictions is several else 2)
        for average, value in found.items():
            expected = sk.f1_score(predictions.gold_BC, predictions.predicted_BC, average=average, zero_division=0)
            assert value == pytest.approx(expected, abs=1e-12)


def test_a_label_that_is_absent_counts_as_zero() -> None:
    found = compute_metrics(_said([0, 0, 1, 1], [0, 0, 1, 1]))
    assert found["macro_f1"] == pytest.approx(2 / 3)
    assert found["weighted_f1"] == 1.0
    assert found["per_class"]["c"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0}
    assert found["confusion_matrix"]["counts"] == [[2, 0, 0], [0, 2, 0], [0, 0, 0]]
    assert found["interval_95"]["macro_f1"] is None


def test_one_row() -> None:
    for labels, rows in ((ABC, [1]), (TAGS, [1]), (TAGS, [])):
        gold = np.zeros((1, 3))
        gold[0, rows] = 1
        predictions = Outcomes.of_probabilities(
            ids=["x"], probabilities_BC=gold * 0.6 + 0.2, gold_BC=gold, labels=labels
        )
        found = compute_metrics(predictions)
        assert found["num_examples"] == 1 and found["accuracy"] == 1.0
        assert found["macro_f1"] == pytest.approx(len(rows) / 3)
        assert found["interval_95"]["accuracy"] == list(wilson(1, 1))


def test_perfect_predictions() -> None:
    found = compute_metrics(_said([0, 1, 2] * 20, [0, 1, 2] * 20, sure=1.0))
    assert found["accuracy"] == found["macro_f1"] == found["weighted_f1"] == 1.0
    assert found["log_loss"] == pytest.approx(0.0, abs=1e-12)
    assert found["interval_95"]["macro_f1"] is found["interval_95"]["weighted_f1"] is None
    low, high = found["interval_95"]["accuracy"]
    assert 0.9 < low < 1.0 and high == 1.0  # Wilson's is not fooled


def test_sure_and_wrong_costs_a_finite_loss() -> None:
    found = compute_metrics(_said([0, 1], [1, 0], sure=1.0), intervals=False)
    assert found["log_loss"] == pytest.approx(-math.log(np.finfo(float).eps))


@pytest.mark.parametrize(
    ("labels", "task", "ids"),
    [(ABC, None, None), (TAGS, None, None), (LabelSet(TASKS["cb"].labels), "cb", None), (MULTIRC, "multirc", "ids")],
)
def test_all_is_plain_json(labels: LabelSet, task: str | None, ids: str | None) -> None:
    predictions = _multirc() if ids else _random(labels, 40)
    found = compute_metrics(predictions, task=TASKS[task] if task else None)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    kinds = set(map(type, _leaves(found)))
    assert kinds <= {int, float, str, type(None)}, kinds


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        value = list(value.values())
    return [leaf for one in value for leaf in _leaves(one)] if isinstance(value, list) else [value]


def test_intervals_are_determined_by_the_seed_and_hold_the_point() -> None:
    predictions = _random(ABC, 120)
    first, again, other = (compute_metrics(predictions, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first["interval_95"]["macro_f1"] != other["interval_95"]["macro_f1"]
    assert first["interval_95"]["accuracy"] == other["interval_95"]["accuracy"]
    for name, (low, high) in first["interval_95"].items():
        assert 0 < low < first[name] < high < 1


def test_the_order_of_rows_does_not_matter() -> None:
    for predictions in (_random(ABC, 50), _random(TAGS, 50), _multirc()):
        order = np.random.default_rng(0).permutation(len(predictions.ids))
        shuffled = Outcomes.of_probabilities(
            ids=[predictions.ids[i] for i in order],
            probabilities_BC=predictions.probabilities_BC[order],
            gold_BC=predictions.gold_BC[order],
            labels=predictions.labels,
        )
        task = TASKS["multirc"] if predictions.labels == MULTIRC else None
        found, expected = compute_metrics(shuffled, task=task), compute_metrics(predictions, task=task)
        assert found.pop("log_loss") == pytest.approx(expected.pop("log_loss"))
        assert found == expected


def test_without_intervals_the_rest_is_the_same() -> None:
    found = compute_metrics(_multirc(), task=TASKS["multirc"])
    assert found.pop("interval_95")
    assert compute_metrics(_multirc(), task=TASKS["multirc"], intervals=False) == found


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("labels", [ABC, TAGS])
def test_probabilities_that_are_not_finite_are_refused(bad: float, labels: LabelSet) -> None:
    good = _random(labels, 9)
    probabilities = good.probabilities_BC.copy()
    probabilities[[4, 7], 1] = bad
    with pytest.raises(ArtifactError, match=re.escape("row 'row-4'") + ".*2 of 9 rows"):
        Outcomes.of_probabilities(ids=good.ids, probabilities_BC=probabilities, gold_BC=good.gold_BC, labels=labels)


def test_logits_are_not_taken_for_probabilities() -> None:
    with pytest.raises(AssertionError, match="probabilities"):
        Outcomes.of_probabilities(
            ids=["x"], probabilities_BC=np.array([[2.0, -1.0, 0.0]]), gold_BC=np.eye(3)[[0]], labels=ABC
        )


def test_no_rows_is_an_error() -> None:
    empty = np.zeros((0, 3))
    with pytest.raises(DataError, match="no rows"):
        compute_metrics(Outcomes.of_probabilities(ids=[], probabilities_BC=empty, gold_BC=empty, labels=ABC))


def test_single_label_views() -> None:
    predictions = _said([2, 0], [1, 0])
    assert predictions.gold_B.tolist() == [2, 0]
    assert predictions.predicted_B.tolist() == [1, 0]
    assert predictions.predicted_BC.tolist() == [[0, 1, 0], [1, 0, 0]]


def test_which_metric_and_which_direction() -> None:
    assert main_metric(None) == "accuracy"
    assert [main_metric(TASKS[name]) for name in ("boolq", "cb", "multirc")] == ["accuracy", "macro_f1", "f1a"]
    assert not higher_is_better("log_loss")
    assert all(map(higher_is_better, ("accuracy", "macro_f1", "weighted_f1", "micro_f1", "f1a", "em")))


def test_check_metric() -> None:
    known = {"accuracy", "macro_f1", "weighted_f1", "log_loss"}
    for name in known:
        check_metric(name, None)
        check_metric(name, TASKS["cb"])
        assert name in compute_metrics(_said([0, 1], [0, 0]), intervals=False)
    check_metric("em", TASKS["multirc"])
    check_metric("micro_f1", None, LabelSet(("a", "b"), multi_label=True))
    with pytest.raises(ConfigError, match="'em' is not a metric of this task; give one of accuracy, macro_f1, weig"):
        check_metric("em", TASKS["cb"])
    with pytest.raises(ConfigError, match="micro_f1"):
        check_metric("micro_f1", None)
