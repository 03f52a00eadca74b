"""Answers in words against plain counting: what cannot be read is wrong, and no label's prediction."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn.metrics as sk

import dhrd
from dhrd.data.records import Example, LabelSet
from dhrd.data.rows import multi_hot
from dhrd.data.superglue import TASKS
from dhrd.errors import ArtifactError, ConfigError, DataError
from dhrd.evaluation.decoded import decoded_metrics, decoded_outcomes, evaluate_decoded
from dhrd.inference import cot
from dhrd.inference.cot import Reasoner
from dhrd.inference.decoding import Decoded, Decoding
from dhrd.metrics.intervals import wilson
from dhrd.metrics.metrics import compute_metrics
from dhrd.metrics.outcomes import Outcomes
from helpers.runs import make_config, read_jsonl, run_here

ABC = LabelSet(("a", "b", "c"))
TAGS = LabelSet(("a", "b", "c"), multi_label=True)
MULTIRC = LabelSet(TASKS["multirc"].labels, TASKS["multirc"].words)


def measured(gold: list[Any], said: list[Any], labels: LabelSet = ABC, **options: Any) -> dict[str, Any]:
    """Metrics of label names; None: unreadable."""
    decoded = [Decoded("", one, num_tokens) for num_tokens, one in enumerate(said, 1)]
    indices = [labels.encode(tuple(one) if labels.multi_label else one) for one in gold]
    ids = options.pop("ids", [f"r{number}" for number in range(len(gold))])
    outcomes = decoded_outcomes(decoded, ids, multi_hot(indices, len(labels)), labels)
    return decoded_metrics(outcomes, decoded, **{"max_new_tokens": len(gold)} | options)


def test_single_label_by_hand() -> None:
    found = measured(list("aaabbbcc"), ["a", "a", None, "b", "c", None, "c", "a"])
    f1 = [2 * 2 / (3 + 3), 2 * 1 / (3 + 1), 2 * 1 / (2 + 2)]  # 2 tp / (gold + predicted)
    assert found["num_examples"] == 8
    assert found["accuracy"] == 4 / 8
    assert found["macro_f1"] == pytest.approx(sum(f1) / 3)
    assert found["weighted_f1"] == pytest.approx((3 * f1[0] + 3 * f1[1] + 2 * f1[2]) / 8)
    assert found["unparsable"] == 2 / 8
    assert found["mean_new_tokens"] == 4.5
    assert found["max_new_tokens_reached"] == 1 / 8
    assert found["interval_95"]["accuracy"] == list(wilson(4, 8))
    assert found["interval_95"]["unparsable"] == list(wilson(2, 8))
    assert found["confusion_matrix"] == {
        "labels": ["a", "b", "c"],
        "columns": ["a", "b", "c", None],
        "counts": [[2, 0, 0, 1], [0, 1, 1, 1], [1, 0, 1, 0]],
    }
    assert list(found["per_class"]) == ["a", "b", "c"]
    assert found["per_class"]["b"] == pytest.approx({"precision": 1.0, "recall": 1 / 3, "f1": f1[1], "support": 3})
    assert "log_loss" not in found
    json.dumps(found, allow_nan=False)


def test_single_label_is_scikit_learns_with_rows_that_predict_nothing() -> None:
    rng = np.random.default_rng(3)
    gold, said = ([list("abc")[i] for i in rng.integers(0, 3, 120)] for _ in range(2))
    answers = [None if rng.random() < 0.3 else g if rng.random() < 0.5 else s for g, s in zip(gold, said, strict=True)]
    found = measured(gold, answers, num_resamples=500)
    numbers = [-1 if one is None else "abc".index(one) for one in answers]
    truth = ["abc".index(one) for one in gold]
    for average in ("macro", "weighted"):
        expected = sk.f1_score(truth, numbers, labels=range(3), average=average, zero_division=0)
        assert found[f"{average}_f1"] == pytest.approx(expected)
        low, high = found["interval_95"][f"{average}_f1"]
        assert low < expected < high
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(truth, numbers))


def test_where_all_is_readable_it_is_the_classifiers_metrics() -> None:
    rng = np.random.default_rng(4)
    gold, said = rng.integers(0, 3, (2, 60))
    found = measured(["abc"[i] for i in gold], ["abc"[i] for i in said])
    eye = np.eye(3)
    predictions = Outcomes.of_probabilities(ids=[""] * 60, probabilities_BC=eye[said], gold_BC=eye[gold], labels=ABC)
    expected = compute_metrics(predictions)
    for name in ("accuracy", "macro_f1", "weighted_f1"):
        assert found[name] == pytest.approx(expected[name])
    assert found["interval_95"]["accuracy"] == expected["interval_95"]["accuracy"]
    low_high = expected["interval_95"]["macro_f1"]
    assert found["interval_95"]["macro_f1"] == pytest.approx(low_high, abs=0.02)
    assert found["per_class"] == expected["per_class"]


def test_with_several_labels_none_is_an_answer_and_unreadable_is_not() -> None:
    found = measured([["a"], ["a", "b"], [], [], ["c"]], [["a"], ["a"], [], None, None], TAGS)
    assert found["accuracy"] == 2 / 5  # the first, and the third with its no labels
    assert found["unparsable"] == 2 / 5
    assert found["micro_f1"] == pytest.approx(2 * 2 / (2 + 4))
    assert found["macro_f1"] == pytest.approx((1 + 0 + 0) / 3)
    assert found["interval_95"]["accuracy"] == list(wilson(2, 5))
    assert found["confusion_matrix"]["c"] == [[4, 0], [1, 0]]


def test_multirc_an_unreadable_answer_is_not_called_right_and_breaks_its_question() -> None:
    ids = [f"multirc-validation-{one}" for one in ("0-0-0", "0-0-1", "0-1-0", "0-1-1", "1-0-0", "1-0-1")]
    gold = ["true", "false", "true", "false", "true", "false"]
    said = ["true", "false", None, "false", "true", None]
    found = measured(gold, said, MULTIRC, ids=ids, task=TASKS["multirc"])
    assert found["f1a"] == pytest.approx(2 * 2 / (3 + 2))
    assert found["em"] == 1 / 3  # the last is not exact though "false" would have been right
    assert found["accuracy"] == 4 / 6
    assert found["official"] == ["f1a", "em"]
    assert set(found["interval_95"]) >= {"f1a", "em", "accuracy", "unparsable"}


def test_all_or_nothing_can_be_read() -> None:
    nothing = measured(list("abc"), [None] * 3)
    assert (nothing["accuracy"], nothing["macro_f1"], nothing["unparsable"]) == (0, 0, 1)
    everything = measured(list("abc"), list("abc"))
    assert (everything["accuracy"], everything["macro_f1"], everything["unparsable"]) == (1, 1, 0)
    assert everything["interval_95"]["macro_f1"] is None
    with pytest.raises(DataError, match="no rows"):
        measured([], [])


@pytest.fixture(scope="module")
def trained(tiny_backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("decoded")
    dhrd.train(make_config(tiny_backbone, directory, "training.num_epochs=1"))
    return directory


@pytest.fixture(scope="module")
def student(tiny_backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained without a classifier."""
    directory = tmp_path_factory.mktemp("student")
    dhrd.train(make_config(tiny_backbone, directory, "training.num_epochs=1", "loss.classification_weight=0"))
    return directory


def answer(monkeypatch: pytest.MonkeyPatch, texts: list[str]) -> None:
    """Let the reasoning head write given texts."""

    def generate(_: Any, tokenizer: Any, prompts: list[Any], **options: Any) -> list[list[int]]:
        assert options["max_new_tokens"] == 30
        return [tokenizer(text)["input_ids"] for text, _ in zip(texts, prompts, strict=True)]

    monkeypatch.setattr(cot, "generate", generate)


def test_an_artifact_is_evaluated_by_what_it_writes(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, ["Why.\nAnswer: keep", "\nAnswer: repair", "nothing"])
    reasoner = Reasoner.from_pretrained(trained / "out", device="cpu")
    examples = [Example(input_text=f"text {n}", label="keep", id=f"r{n}") for n in range(3)]
    found = evaluate_decoded(reasoner, examples, Decoding(max_new_tokens=30), num_resamples=50)
    assert found.outcomes.predicted_BC.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 0]]  # keep, repair, return
    assert found.outcomes.gold_BC.tolist() == [[1, 0, 0]] * 3
    assert found.outcomes.readable_B.tolist() == [True, True, False]
    assert (found.metrics["accuracy"], found.metrics["selected_on"]) == (1 / 3, False)
    first, _, last = found.rows()
    assert first == {
        "id": "r0",
        "input_text": "text 0",
        "gold": "keep",
        "label": "keep",
        "rationale": "Why.",
        "num_tokens": found.decoded[0].num_tokens,
    }
    assert last["label"] is None


@pytest.mark.parametrize("which", ["trained", "student"])
def test_the_command_writes_metrics_and_rationales(
    which: str, request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = request.getfixturevalue(which)
    files = ["--json", tmp_path / "m.json", "--predictions", tmp_path / "p.jsonl"]
    options = ["--mode", "cot", "--max-new-tokens", 12, "--batch-size", 4, "--temperature", 0.1, "--top-p", 0.7]
    ended = run_here(capsys, "evaluate", "--model", directory / "out", *options, *files, "--device", "cpu")
    assert ended.code == 0, ended.err
    assert "unparsable" in ended.out
    assert "mean_new_tokens" in ended.out
    metrics, rows = json.loads((tmp_path / "m.json").read_text()), read_jsonl(tmp_path / "p.jsonl")
    assert metrics["num_examples"] == len(rows) == 9
    for row in rows:
        assert set(row) == {"id", "input_text", "gold", "label", "rationale", "num_tokens"}
        assert 0 <= row["num_tokens"] <= 12
    assert metrics["unparsable"] == sum(row["label"] is None for row in rows) / 9
    assert metrics["mean_new_tokens"] == pytest.approx(sum(row["num_tokens"] for row in rows) / 9)


def test_a_student_without_a_classifier_names_the_mode_that_it_has(
    student: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = run_here(capsys, "evaluate", "--model", student / "out")
    assert ended.code == 2
    assert ended.error_lines[0].endswith(f"dhrd evaluate --mode cot --model {student / 'out'}")
    with pytest.raises(ArtifactError, match="no classifier"):
        dhrd.Classifier.from_pretrained(student / "out")
    with pytest.raises(ConfigError, match="`mode` guess: unknown; give classifier, cot or cascade"):
        dhrd.evaluate(student / "out", mode="guess")  # type: ignore[arg-type]


def test_a_baseline_is_told_that_its_reasoning_head_learned_nothing(
    tiny_backbone: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dhrd.train(make_config(tiny_backbone, tmp_path, "training.num_epochs=1", "loss.reasoning_weight=0"))
    Reasoner.from_pretrained(tmp_path / "out", device="cpu")
    assert "its reasoning head learned nothing" in caplog.text
