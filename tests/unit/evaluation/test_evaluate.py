"""Evaluated rows: what is written of each, how rows are known again, how far two models are apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dhrd
from dhrd import Classifier, ConfigError, DataError, Example
from dhrd.data.records import LabelSet
from dhrd.evaluation.evaluate import Evaluation, agreement, compare_forwards, evaluate_classifier, rows_fingerprint
from dhrd.inference.decoding import Decoded
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
