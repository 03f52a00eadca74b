"""Evaluated rows: what is written of each, how rows are known again, how far two models are apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dhrd
from dhrd import Classifier, ConfigError, DataError, Example
from dhrd.data.records import LabelSet
from dhrd.decisions.decision import Decision, LabelSets, Rule
from dhrd.decisions.report import DecisionMetrics, decision_metrics
from dhrd.decisions.target import Target
from dhrd.evaluation.evaluate import (
    Evaluation,
    agreement,
    compare_forwards,
    evaluate_classifier,
    labelled,
    measure_decision,
    rows_fingerprint,
)
from dhrd.inference.decoding import Decoded
from dhrd.metrics.metrics import compute_metrics
from dhrd.metrics.outcomes import Outcomes
from helpers.runs import make_config, rows

AB = LabelSet(("a", "b"))
GOLD_BC, P_BC = np.array([[1, 0], [0, 1]]), np.array([[0.75, 0.25], [0.625, 0.375]])


def classified(**more: Any) -> Evaluation:
    outcomes = Outcomes.of_probabilities(["r0", "r1"], GOLD_BC, P_BC, AB)
    return Evaluation(**{"metrics": {}, "outcomes": outcomes, "texts": ["x", "y"]} | more)


def test_rows_of_a_classifier() -> None:
    first, second = classified().rows()
    assert first == {
        "id": "r0", "input_text": "x", "gold": "a", "label": "a", "probabilities": {"a": 0.75, "b": 0.25}
    }  # fmt: skip
    assert (second["gold"], second["label"]) == ("b", "a")


def test_rows_of_several_labels_are_lists() -> None:
    tags = LabelSet(("a", "b"), multi_label=True)
    outcomes = Outcomes.of_probabilities(["r0"], np.array([[1, 1]]), np.array([[0.5, 0.25]]), tags)
    (row,) = classified(outcomes=outcomes, texts=["x"]).rows()
    assert (row["gold"], row["label"]) == (["a", "b"], ["a"])


def test_rows_of_answers_in_words() -> None:
    outcomes = Outcomes(ids=["r0", "r1"], gold_BC=GOLD_BC, predicted_BC=np.array([[0, 1], [0, 0]]), labels=AB)
    decoded = [Decoded("why", "b", 5), Decoded("no end", None, 9)]
    first, second = classified(outcomes=outcomes, decoded=decoded).rows()
    assert list(first) == ["id", "input_text", "gold", "label", "rationale", "num_tokens"]
    assert (first["label"], first["rationale"], first["num_tokens"]) == ("b", "why", 5)
    assert second["label"] is None


def test_rows_of_a_cascade_say_who_decided() -> None:
    decoded = [Decoded("why", "a", 5), Decoded("no end", None, 9)]
    asked, unreadable = classified(decoded=decoded, asked_B=np.array([True, True])).rows()
    assert list(asked) == ["id", "input_text", "gold", "label", "probabilities", "decided_by", "rationale"]
    assert (asked["decided_by"], unreadable["decided_by"]) == ("reasoning", "classifier")
    sure, _ = classified(decoded=decoded, asked_B=np.array([False, True])).rows()
    assert sure["decided_by"] == "classifier"


def test_rows_that_were_written_as_they_came_are_not_kept() -> None:
    with pytest.raises(ConfigError, match="rows passed to write_row"):
        classified(texts=[]).rows()


def test_rows_are_known_again_in_any_order() -> None:
    texts = ["one", "two", "a lone surrogate \ud800"]
    assert rows_fingerprint(texts) == rows_fingerprint(reversed(texts))
    assert len({rows_fingerprint(some) for some in (texts, texts[:2], [*texts, "one"], [])}) == 4
    assert all(len(rows_fingerprint([text])) == 16 for text in texts)


def test_agreement_by_hand() -> None:
    p, q = np.array([[0.9, 0.1], [0.4, 0.6]]), np.array([[0.8, 0.2], [0.7, 0.3]])
    assert agreement(p, p, AB) == {"max_probability_difference": 0.0, "label_agreement": 1.0}
    assert agreement(p, q, AB)["label_agreement"] == 0.5
    assert agreement(p, q, AB)["max_probability_difference"] == pytest.approx(0.3)
    assert (
        agreement(np.array([[0.6, 0.6]]), np.array([[0.6, 0.4]]), LabelSet(("a", "b"), multi_label=True))[
            "label_agreement"
        ]
        == 0.0
    )


def decided_on(threshold: float, group_B: Sequence[str | None] | None) -> tuple[Decision, Outcomes]:
    """200 rows, whose probability of being right depends on their tens, and a decision with label sets."""
    rng = np.random.default_rng(0)
    p_B = np.repeat(rng.uniform(0.5, 1, 20), 10)
    outcomes = Outcomes.of_probabilities(
        ids=[str(row) for row in range(200)],
        gold_BC=np.eye(2, dtype=np.int64)[(np.repeat(rng.random(20), 10) > p_B).astype(int)],
        probabilities_BC=np.stack([p_B, 1 - p_B], axis=1),
        labels=LabelSet(("a", "b")),
        group_B=group_B,
    )
    rule = Rule(target=Target(measure="precision", level=0.5, label="a"), threshold=threshold)
    sets = LabelSets(coverage=0.8, threshold=0.45)
    return Decision(rules=(rule,), sets=sets, num_rows=200, fingerprint="0"), outcomes


def widths(metrics: DecisionMetrics) -> dict[str, float]:
    ends = {
        "coverage": metrics["coverage_interval_95"],
        "accuracy": metrics["accuracy_interval_95"],
        "target": metrics["targets"][0]["share_interval_95"],
        "sets": metrics["sets"]["coverage_interval_95"],
    }
    return {name: high - low for name, (low, high) in ends.items()}


def test_the_shares_of_a_decision_are_over_groups_where_rows_have_some() -> None:
    tens = [str(row // 10) for row in range(200)]
    alone, grouped = (widths(measure_decision(*decided_on(0.7, group_B))) for group_B in (None, tens))
    # Ten rows that are alike tell as much as one: intervals are √10 as wide
    assert grouped == pytest.approx({name: 10**0.5 * width for name, width in alone.items()}, rel=0.2)


def test_where_all_rows_are_answered_a_decision_is_as_accurate_as_its_classifier() -> None:
    decision, outcomes = decided_on(0.0, [str(row // 25) for row in range(200)])
    metrics, decided = compute_metrics(outcomes), measure_decision(decision, outcomes)
    assert decided["num_answered"] == 200
    assert decided["accuracy"] == metrics["accuracy"]
    assert decided["accuracy_interval_95"] == metrics["interval_95"]["accuracy"]


@pytest.mark.parametrize("threshold", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("group_B", [None, [None] * 200, [str(row) for row in range(200)]])
def test_without_groups_the_shares_of_a_decision_are_exact(
    threshold: float, group_B: Sequence[str | None] | None
) -> None:
    decision, outcomes = decided_on(threshold, group_B)
    assert measure_decision(decision, outcomes) == decision_metrics(decision, labelled(outcomes))


def test_no_row_is_answered_in_groups() -> None:
    decision, outcomes = decided_on(1.0, ["one"] * 200)
    outcomes = replace(outcomes, probabilities_BC=np.tile([0.6, 0.4], (200, 1)))
    metrics = measure_decision(decision, outcomes)
    assert (metrics["num_answered"], metrics["accuracy"], metrics["accuracy_interval_95"]) == (0, None, [0.0, 1.0])


@pytest.fixture(scope="module")
def artifact(tiny_backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("evaluated")
    return dhrd.train(make_config(tiny_backbone, directory, "training.num_epochs=1")).output_dir


def test_a_classifier_is_evaluated_with_the_groups_of_its_rows(artifact: Path) -> None:
    classifier = Classifier.from_pretrained(artifact, device="cpu", dtype=None)
    examples = [Example(id=row["id"], input_text=row["input_text"], label=row["label"], group="g") for row in rows(7)]
    evaluation = evaluate_classifier(classifier, iter(examples), num_resamples=20)
    said = classifier.predict(examples)
    right = [label == example.label for label, example in zip(said, examples, strict=True)]
    assert evaluation.metrics["accuracy"] == np.mean(right)
    assert evaluation.outcomes.hits_B.tolist() == right
    assert evaluation.outcomes.group_B == ["g"] * 7
    assert evaluation.metrics["selected_on"] is False
    with pytest.raises(DataError, match="no rows"):
        evaluate_classifier(classifier, [])


def test_an_artifact_is_itself(artifact: Path) -> None:
    classifier = Classifier.from_pretrained(artifact, device="cpu", dtype=None)
    other = Classifier.from_pretrained(artifact, device="cpu", dtype=None)
    ids = [item.input_ids for item in classifier.encode([row["input_text"] for row in rows(5)])]
    apart = compare_forwards(
        (classifier.logits, "cpu"), (other.logits, "cpu"), ids, pad_token_id=classifier.tokenizer.pad_token_id,
        labels=classifier.labels,
    )  # fmt: skip
    assert apart == {
        "num_examples": 5, "max_logit_difference": 0.0, "max_probability_difference": 0.0, "label_agreement": 1.0
    }  # fmt: skip
