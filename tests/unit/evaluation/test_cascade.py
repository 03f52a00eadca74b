"""The cascade on labelled rows: the curve, the choice of a threshold, the command."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dhrd
from dhrd import Classifier, ConfigError, DataError
from dhrd.artifact.write import write_decision
from dhrd.data.records import LabelSet
from dhrd.decisions.decision import Decision, Rule
from dhrd.decisions.target import Target
from dhrd.evaluation.cascade import BothHeads, Choice, answer, choose_threshold, curve, evaluate_cascade, point
from dhrd.evaluation.decoded import decoded_outcomes
from dhrd.evaluation.evaluate import rows_fingerprint
from dhrd.inference.cascade import CoT
from dhrd.inference.cot import Reasoner
from dhrd.inference.decoding import Decoded, Decoding
from dhrd.metrics.outcomes import Outcomes
from dhrd.run.rows import rows_of
from helpers.runs import make_config, read_jsonl, rows, run_here

AB = LabelSet(("a", "b"))


def answered(p_of_a: list[float], said: list[str | None], gold: str, tokens: list[int] | None = None) -> BothHeads:
    """Rows of two labels; the classifier takes 1 s for all, the reasoning head 100 s."""
    count = len(p_of_a)
    ids, p_BC = [str(index) for index in range(count)], np.array([[p, 1 - p] for p in p_of_a])
    gold_BC = np.array([[one == "a", one == "b"] for one in gold], dtype=np.int64)
    decoded = [Decoded("", one, n) for one, n in zip(said, tokens or [9] * count, strict=True)]
    return BothHeads(
        classified=Outcomes.of_probabilities(ids, gold_BC, p_BC, AB),
        written=decoded_outcomes(decoded, ids, gold_BC, AB),
        texts=[f"text {index}" for index in range(count)],
        decoded=decoded,
        classifier_s=1.0,
        decoding_s=100.0,
    )


ROWS = answered([0.9, 0.6, 0.2, 0.55], ["b", "b", "b", None], "abba", [9, 19, 9, 39])
"""The classifier is right but for the second row, which the reasoning head mends; it spoils the first."""


def test_points_by_hand() -> None:
    none, some, most, every = (point(ROWS, ROWS.asked(threshold)) for threshold in (0.0, 0.7, 0.85, 1.0))
    assert [one["share_asked"] for one in (none, some, most, every)] == [0, 0.5, 0.75, 1]
    assert [one["accuracy"] for one in (none, some, most, every)] == [0.75, 1, 1, 0.75]
    assert none["relative_cost"] == 1
    assert some["relative_cost"] == pytest.approx(1 + 100 * (20 + 40) / 80)  # by new tokens, one a prompt
    assert every["relative_cost"] == pytest.approx(101)
    assert every["queries_per_second"] == pytest.approx(4 / 101)


def test_the_curve_goes_from_the_classifier_to_chain_of_thought() -> None:
    points = curve(ROWS)
    assert [one["share_asked"] for one in points] == [0, 0.25, 0.5, 0.75, 1, 1]
    assert (points[0]["threshold"], points[-1]["threshold"]) == (0, 1)
    assert points == sorted(points, key=lambda one: one["threshold"])
    json.dumps(points, allow_nan=False)


def test_a_long_curve_is_thinned_and_keeps_its_ends() -> None:
    rng = np.random.default_rng(0)
    p = rng.uniform(0, 1, 500).tolist()
    points = curve(answered(p, ["a"] * 500, "a" * 500))
    assert 40 < len(points) <= 52
    assert (points[0]["share_asked"], points[-1]["share_asked"]) == (0, 1)
    assert points[-1]["accuracy"] == 1


def test_rows_of_confidence_1_are_asked_only_at_1() -> None:
    points = curve(answered([1.0, 0.0], ["b", "a"], "ab"))
    assert [one["share_asked"] for one in points] == [0, 1]


def test_the_cheapest_that_reaches_an_accuracy() -> None:
    points = curve(ROWS)
    chosen = choose_threshold(points, target_accuracy=0.9)
    assert point(ROWS, ROWS.asked(chosen))["share_asked"] == 0.5
    assert choose_threshold(points, target_accuracy=0.75) == 0
    with pytest.raises(ConfigError, match=r"`target_accuracy` 1.1: no threshold reaches it .* the best is 1.000"):
        choose_threshold(points, target_accuracy=1.1)


def test_the_best_within_a_cost_and_of_equals_the_cheaper() -> None:
    points = curve(ROWS)
    assert choose_threshold(points, target_cost=1) == 0
    assert point(ROWS, ROWS.asked(choose_threshold(points, target_cost=80)))["share_asked"] == 0.5
    assert point(ROWS, ROWS.asked(choose_threshold(points, target_cost=1000)))["share_asked"] == 0.5
    with pytest.raises(ConfigError, match=r"`target_cost` 0.5: the classifier alone costs 1"):
        choose_threshold(points, target_cost=0.5)


@pytest.fixture(scope="module")
def trained(tiny_backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("cascades")
    return dhrd.train(make_config(tiny_backbone, directory, "training.num_epochs=1", "data.dev_share=0.3")).output_dir


SHORT = CoT(max_new_tokens=8)


def test_a_point_is_what_a_cascade_at_its_threshold_says(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = Classifier.from_pretrained(trained, device="cpu").labels.names

    def decode(_: Any, inputs: list[Any], decoding: Decoding) -> list[Decoded]:  # a tiny random head names no label
        return [Decoded("", (*names, None)[sum(item.input_ids) % 4], 3) for item in inputs]

    monkeypatch.setattr(Reasoner, "decode", decode)
    examples = rows_of(trained)
    plain = Classifier.from_pretrained(trained, device="cpu", dtype=None)
    found = answer(plain, examples, SHORT)
    for one in curve(found):
        options: dict[str, Any] = {"cascade": SHORT, "threshold": one["threshold"]}
        real = Classifier.from_pretrained(trained, device="cpu", dtype=None, **options)
        said = real.predict(examples)
        assert one["accuracy"] == sum(a == e.label for a, e in zip(said, examples, strict=True)) / len(examples)
        assert one["share_asked"] == real.num_asked / len(examples)


def test_a_threshold_is_chosen_on_rows_that_training_held_out(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = ["--json", tmp_path / "m.json", "--predictions", tmp_path / "p.jsonl", "--plot", tmp_path / "c.svg"]
    flags = ["--mode", "cascade", "--target-cost", 1000, "--max-new-tokens", 8, "--device", "cpu"]
    ended = run_here(capsys, "evaluate", "--model", trained, *flags, *files)
    assert ended.code == 0, ended.err
    metrics, rows = json.loads((tmp_path / "m.json").read_text()), read_jsonl(tmp_path / "p.jsonl")
    assert metrics["chosen_on"]["num_rows"] == 6  # 0.3 of 20
    assert metrics["chosen_on"]["target_cost"] == 1000
    assert metrics["selected_on"] is False
    assert metrics["accuracy"] == sum(row["label"] == row["gold"] for row in rows) / 9
    assert {row["decided_by"] for row in rows} <= {"classifier", "reasoning"}
    assert metrics["curve"][0]["relative_cost"] == 1
    assert "threshold" in ended.out
    assert (tmp_path / "c.svg").read_text().lstrip().startswith("<?xml")


def test_a_choice_on_the_very_rows_is_marked(trained: Path) -> None:
    classifier, examples = Classifier.from_pretrained(trained, device="cpu"), rows_of(trained)
    found = evaluate_cascade(classifier, examples, SHORT, Choice(choose_on=examples, target_cost=5.0))
    assert found.metrics["selected_on"] is True


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "give one of --threshold, --target-accuracy and --target-cost"),
        (["--threshold", "0.5", "--target-cost", "3"], "give one of --threshold, --target-accuracy and --target-cost"),
    ],
)
def test_one_of_three(trained: Path, capsys: pytest.CaptureFixture[str], flags: list[str], message: str) -> None:
    ended = run_here(capsys, "evaluate", "--model", trained, "--mode", "cascade", *flags)
    assert ended.code == 2
    assert message in ended.error_lines[0]


def test_a_run_that_held_out_nothing_needs_rows_for_the_choice(
    tiny_backbone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = dhrd.train(make_config(tiny_backbone, tmp_path, "training.num_epochs=1")).output_dir
    flags = ["--mode", "cascade", "--target-accuracy", 0.1, "--max-new-tokens", 8]
    ended = run_here(capsys, "evaluate", "--model", out, *flags)
    assert ended.code == 2
    assert "held out none: give --dev-data SPEC, or train with data.dev_share" in ended.error_lines[0]
    refused = run_here(capsys, "evaluate", "--model", out, *flags, "--dev-data", tmp_path / "train.jsonl")
    assert (refused.code, "the model was trained on 20 of the 20 rows" in refused.error_lines[0]) == (2, True)
    assert run_here(capsys, "evaluate", "--model", out, *flags, "--dev-data", tmp_path / "validation.jsonl").code == 0
    with pytest.raises(DataError, match="no rows"):
        dhrd.evaluate(out, mode="cascade", target_accuracy=0.1, dev_data=[])


def test_rows_that_chose_the_weights_or_the_decision_are_told(trained: Path, tmp_path: Path) -> None:
    """As in the other modes; other rows are not, and a threshold of one's own is no decision's."""
    copy = shutil.copytree(trained, tmp_path / "copy")
    given, own = rows(6), {"mode": "cascade", "max_new_tokens": 4, "device": "cpu"}

    def is_selected_on(**choice: Any) -> bool:
        return bool(dhrd.evaluate(copy, given, **own, **choice).metrics["selected_on"])

    assert not is_selected_on(threshold=0.5)
    fingerprint = rows_fingerprint(dhrd.evaluate(copy, given, device="cpu").texts)
    rule = Rule(target=Target(measure="accuracy", level=0.5), threshold=0.5)
    write_decision(copy, Decision(rules=(rule,), num_rows=6, fingerprint=fingerprint))
    assert is_selected_on()
    assert not is_selected_on(threshold=0.5)
    record = json.loads((copy / "dhrd.json").read_text())
    record["training"]["selected_on"] = {"rows": "these", "fingerprint": fingerprint}
    (copy / "dhrd.json").write_text(json.dumps(record))
    assert is_selected_on(threshold=0.5)


def test_a_decision_needs_no_threshold(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = shutil.copytree(trained, tmp_path / "copy")
    rule = Rule(target=Target(measure="accuracy", level=0.5), threshold=1.0)  # no row is answered
    write_decision(copy, Decision(rules=(rule,), num_rows=9, fingerprint="f"))
    files = ["--json", tmp_path / "m.json", "--predictions", tmp_path / "p.jsonl"]
    flags = ["--mode", "cascade", "--max-new-tokens", 8, "--device", "cpu"]
    ended = run_here(capsys, "evaluate", "--model", copy, *flags, *files)
    assert ended.code == 0, ended.err
    assert "By the artifact's decision 100% of the rows are asked." in ended.out
    metrics, rows = json.loads((tmp_path / "m.json").read_text()), read_jsonl(tmp_path / "p.jsonl")
    assert (metrics["threshold"], metrics["share_asked"]) == (None, 1)
    assert metrics["unreadable_share"] == sum(row["label"] is None for row in rows) / len(rows)
    assert metrics["accuracy"] == sum(row["label"] == row["gold"] for row in rows) / len(rows)
