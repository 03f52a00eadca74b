"""The cascade on an artifact: which rows are asked, what becomes of their answers."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dhrd
from dhrd import Classifier, ConfigError
from dhrd.artifact.write import write_decision
from dhrd.decisions.decision import Decision, Rule, confidences
from dhrd.decisions.target import Target
from dhrd.inference.cascade import CoT, asked_rows
from dhrd.inference.cot import Reasoner
from dhrd.inference.decoding import Decoded, Decoding
from helpers.runs import make_config, rows

TEXTS = [row["input_text"] for row in rows(12)]
SHORT = CoT(max_new_tokens=8, batch_size=4)


@pytest.fixture(scope="module")
def artifact(tiny_backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("cascade")
    return dhrd.train(make_config(tiny_backbone, directory, "training.num_epochs=1")).output_dir


@pytest.fixture(scope="module")
def plain(artifact: Path) -> Classifier:
    return Classifier.from_pretrained(artifact, device="cpu", dtype=None)


def cascade(artifact: Path, threshold: float | None, **options: Any) -> Classifier:
    return Classifier.from_pretrained(
        artifact, device="cpu", dtype=None, **{"cascade": SHORT, "threshold": threshold} | options
    )


@pytest.fixture
def decoding(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[str], str | None]], list[str]]:
    """Let the reasoning head say what a function says of an input; what it was asked is listed."""

    def install(say: Callable[[str], str | None]) -> list[str]:
        asked: list[str] = []

        def decode(_: Reasoner, inputs: Sequence[Any], decoding: Decoding) -> list[Decoded]:
            assert decoding == SHORT
            asked.extend(item.text for item in inputs)
            return [Decoded("because", say(item.text), 5) for item in inputs]

        monkeypatch.setattr(Reasoner, "decode", decode)
        return asked

    return install


def other(plain: Classifier, text: str) -> str:
    """A label that the classifier does not give."""
    names = plain.labels.names
    return names[(names.index(str(plain.predict(text)[0])) + 1) % len(names)]


def test_at_0_nothing_is_decoded(artifact: Path, plain: Classifier, decoding: Any) -> None:
    asked = decoding(lambda text: None)
    classifier = cascade(artifact, 0.0)
    assert classifier.predict(TEXTS) == plain.predict(TEXTS)
    assert (asked, classifier.num_asked) == ([], 0)


def test_at_1_every_row_is_and_its_answer_counts(artifact: Path, plain: Classifier, decoding: Any) -> None:
    asked = decoding(lambda text: other(plain, text))
    classifier = cascade(artifact, 1.0)
    found = list(classifier.stream(TEXTS))
    assert asked == TEXTS
    assert [one.label for one in found] == [other(plain, text) for text in TEXTS]
    assert {one.decided_by for one in found} == {"reasoning"}
    assert classifier.num_asked == len(TEXTS)


def test_between_the_unsure_rows_are(artifact: Path, plain: Classifier, decoding: Any) -> None:
    asked = decoding(lambda text: other(plain, text))
    confidence = plain.predict_proba(TEXTS).max(1)
    threshold = float(np.sort(confidence)[4:6].mean())  # five rows are under it; of one at it rounding would decide
    found = list(cascade(artifact, threshold).stream(TEXTS, window=4))
    assert asked == [text for text, sure in zip(TEXTS, confidence, strict=True) if sure < threshold]
    assert len(asked) == 5
    for text, one in zip(TEXTS, found, strict=True):
        unsure = text in asked
        assert one.decided_by == ("reasoning" if unsure else "classifier")
        assert one.label == (other(plain, text) if unsure else plain.predict(text)[0])
    probabilities = [list(one.probabilities.values()) for one in found]
    assert np.allclose(probabilities, plain.predict_proba(TEXTS))  # those of the classification head stay


def test_an_answer_that_cannot_be_read_leaves_the_classifiers(artifact: Path, plain: Classifier, decoding: Any) -> None:
    decoding(lambda text: None)
    found = list(cascade(artifact, 1.0).stream(TEXTS))
    assert [one.label for one in found] == plain.predict(TEXTS)
    assert {one.decided_by for one in found} == {"classifier"}


def test_it_is_the_reasoning_head_that_answers(artifact: Path, plain: Classifier) -> None:
    reasoner = Reasoner.from_pretrained(artifact, device="cpu")
    inputs = plain.encoder.encode([({"input_text": text}, "") for text in TEXTS])
    said = reasoner.decode(inputs, Decoding(max_new_tokens=8))
    expected = [one.label or label for one, label in zip(said, plain.predict(TEXTS), strict=True)]
    assert cascade(artifact, 1.0).predict(TEXTS) == expected


@pytest.mark.parametrize("threshold", [None, -0.1, 1.5, float("nan")])
def test_a_threshold_is_needed(artifact: Path, threshold: float | None) -> None:
    with pytest.raises(
        ConfigError, match=r"below which the reasoning head is used; dhrd evaluate --mode cascade chooses one"
    ):
        cascade(artifact, threshold)


def test_a_baseline_has_nothing_to_ask(tiny_backbone: Path, tmp_path: Path) -> None:
    config = make_config(tiny_backbone, tmp_path, "training.num_epochs=1", "loss.reasoning_weight=0")
    baseline = dhrd.train(config).output_dir
    with pytest.raises(ConfigError, match="its reasoning head is untrained"):
        cascade(baseline, 0.5)


def test_of_several_labels_the_least_sure_counts() -> None:
    p = np.array([[0.9, 0.2, 0.01], [0.51, 0.99, 0.0], [1.0, 0.0, 0.0]])
    assert confidences(p, multi_label=True).tolist() == pytest.approx([0.8, 0.51, 1.0])
    assert confidences(p, multi_label=False).tolist() == [0.9, 0.99, 1.0]


def test_rows_at_the_threshold_are_not_asked_and_at_1_all_are() -> None:
    sure = np.array([0.5, 0.7, 1.0])
    assert asked_rows(sure, 0.7).tolist() == [True, False, False]
    assert asked_rows(sure, 1.0).tolist() == [True, True, True]
    assert not asked_rows(sure, 0.0).any()


def test_by_a_decision_the_rows_are_asked_that_it_leaves_out(
    artifact: Path, plain: Classifier, decoding: Any, tmp_path: Path
) -> None:
    confidence_B = plain.predict_proba(TEXTS).max(1)
    middle = float(np.median(confidence_B))
    copy = shutil.copytree(artifact, tmp_path / "copy")
    rule = Rule(target=Target(measure="accuracy", level=0.5), threshold=middle)
    write_decision(copy, Decision(rules=(rule,), num_rows=12, fingerprint="f"))
    left = [text for text, confidence in zip(TEXTS, confidence_B, strict=True) if confidence < middle]
    assert 0 < len(left) < len(TEXTS)
    alone = Classifier.from_pretrained(copy, device="cpu", dtype=None)
    predictions = alone.predict(TEXTS)
    assert [text for text, label in zip(TEXTS, predictions, strict=True) if label is None] == left
    asked = decoding(lambda text: None if text == left[0] else other(plain, text))
    found = list(cascade(copy, None).stream(TEXTS))
    assert asked == left
    assert [one.label is None for one in found] == [text == left[0] for text in TEXTS]
    assert [one.decided_by == "reasoning" for one in found] == [text in left[1:] for text in TEXTS]
    assert cascade(copy, 0.0).predict(TEXTS) == plain.predict(TEXTS)  # a threshold takes the decision's place
    assert isinstance(alone.info.decision, Decision)
