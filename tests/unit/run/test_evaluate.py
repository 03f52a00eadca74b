"""`evaluate` by the classifier, by the reasoning head, and by both: the same rows, the options of each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import dhrd
from dhrd import ConfigError, CoT
from dhrd.inference.cot import Reasoner
from dhrd.inference.decoding import Decoded, Decoding
from helpers.runs import make_config, rows


@pytest.fixture(scope="module")
def artifact(tiny_backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("evaluate")
    return dhrd.train(make_config(tiny_backbone, directory, "training.num_epochs=1", "data.dev_share=0.3")).output_dir


@pytest.fixture
def asked_with(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, Decoding]]:
    """How many rows the reasoning head was asked, and how; it says `keep` of each."""
    asked: list[tuple[int, Decoding]] = []

    def decode(_: Reasoner, inputs: list[Any], decoding: Decoding) -> list[Decoded]:
        asked.append((len(inputs), decoding))
        return [Decoded("because", "keep", 4) for _ in inputs]

    monkeypatch.setattr(Reasoner, "decode", decode)
    return asked


def test_every_mode_evaluates_the_same_rows(artifact: Path, asked_with: list[tuple[int, Decoding]]) -> None:
    given, options = rows(7), {"max_new_tokens": 9, "temperature": 0.5, "top_p": 0.9, "batch_size": 2}
    by_mode = {
        "classifier": dhrd.evaluate(artifact, given, device="cpu"),
        "cot": dhrd.evaluate(artifact, given, device="cpu", mode="cot", **options),
        "cascade": dhrd.evaluate(artifact, given, device="cpu", mode="cascade", threshold=1.0, **options),
    }
    assert asked_with == [(7, Decoding(**options))] * 2
    for mode, evaluation in by_mode.items():
        assert evaluation.metrics["num_examples"] == 7
        assert evaluation.outcomes.ids == [row["id"] for row in given]
        assert (evaluation.asked_B is not None, bool(evaluation.decoded)) == (mode == "cascade", mode != "classifier")
        assert ("log_loss" in evaluation.metrics) == (mode == "classifier")
    share = sum(row["label"] == "keep" for row in given) / 7
    assert by_mode["cot"].metrics["accuracy"] == by_mode["cascade"].metrics["accuracy"] == share
    assert by_mode["cascade"].metrics["share_asked"] == 1.0


def test_without_options_decoding_is_greedy(artifact: Path, asked_with: list[tuple[int, Decoding]]) -> None:
    dhrd.evaluate(artifact, rows(3), device="cpu", mode="cot")
    assert asked_with == [(3, Decoding())]
    assert Decoding() == Decoding(temperature=0.0, top_p=1.0, max_new_tokens=500, batch_size=16, seed=0)


def test_a_threshold_is_chosen_on_the_rows_for_it(artifact: Path, asked_with: list[tuple[int, Decoding]]) -> None:
    held_out = dhrd.evaluate(artifact, rows(5), device="cpu", mode="cascade", target_cost=1e9)
    assert [count for count, _ in asked_with] == [6, 5]  # 0.3 of the run's 20 rows, then the rows themselves
    assert held_out.metrics["chosen_on"]["num_rows"] == 6
    others = [{"input_text": f"never read {number}", "label": "keep"} for number in range(4)]
    given = dhrd.evaluate(artifact, rows(5), device="cpu", mode="cascade", target_cost=1e9, dev_data=others)
    assert given.metrics["chosen_on"]["num_rows"] == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "guess"}, "guess: unknown; give classifier, cot or cascade"),
        ({"mode": "cot", "threshold": 0.5}, "`threshold` needs `mode=cascade`, got cot"),
        ({"dev_data": [], "target_cost": 2.0}, "`target_cost` needs `mode=cascade`, got classifier"),
        ({"mode": "cascade", "threshold": 0.5, "dev_data": []}, "`dev_data` is for choosing a threshold"),
        ({"mode": "cascade"}, "give one of `threshold`, `target_accuracy` and `target_cost`"),
        ({"mode": "cascade", "threshold": 2.0}, "threshold 2.0: give a confidence from 0 to 1"),
        ({"mode": "cot", "max_new_tokens": None}, "`max_new_tokens`: give a whole number"),
    ],
)
def test_options_that_make_no_sense(artifact: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        dhrd.evaluate(artifact, rows(3), device="cpu", **options)


def test_an_unknown_option_is_no_option(artifact: Path) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'beams'"):
        dhrd.evaluate(artifact, rows(3), beams=4)  # type: ignore[call-arg]


def test_a_cascade_as_documented(artifact: Path, asked_with: list[tuple[int, Decoding]]) -> None:
    how = CoT(max_new_tokens=200)
    classifier = dhrd.Classifier.from_pretrained(artifact, device="cpu", cascade=how, threshold=1.0)
    predictions = list(classifier.stream([row["input_text"] for row in rows(4)]))
    assert {(one.label, one.decided_by) for one in predictions} == {("keep", "reasoning")}
    assert (classifier.cascade, classifier.threshold, classifier.num_asked) == (how, 1.0, 4)
    assert asked_with == [(4, how)]
