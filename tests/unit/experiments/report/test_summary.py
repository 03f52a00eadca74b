"""What the report says of cells whose answers are known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import pytest

from dhrd.cli.show import study_table
from dhrd.data.records import LabelSet
from dhrd.evaluation.metrics import Predictions, compute_metrics
from dhrd.evaluation.outcomes import Outcomes
from dhrd.experiments.cache import Cache
from dhrd.experiments.cell_result import CellData, CellResult
from dhrd.experiments.cells import Cell
from dhrd.experiments.plan import Request, final_cells
from dhrd.experiments.report.render import html, markdown
from dhrd.experiments.report.schema import Report
from dhrd.experiments.report.summary import summarize
from dhrd.experiments.reproduce import Outcome
from dhrd.experiments.study import DHRD, POOLED, Arm, Condition, Study
from helpers_experiments import make_request
from helpers_runs import write_rows

LABELS = LabelSet(("keep", "return", "repair"))
NUM_ROWS = 400


def answers(share_right: float, seed: int, prefix: str = "v") -> CellResult:
    """A cell's result in which this share of the rows is right: the first ones, so that better arms are nested."""
    gold = numpy.random.default_rng(0).integers(3, size=NUM_ROWS)
    wrong = numpy.arange(NUM_ROWS) >= share_right * NUM_ROWS
    predicted = numpy.where(wrong, (gold + 1 + seed % 2) % 3, gold)
    p_BC = numpy.full((NUM_ROWS, 3), 0.1)
    p_BC[numpy.arange(NUM_ROWS), predicted] = 0.8
    ids = [f"{prefix}{i}" for i in range(NUM_ROWS)]
    predictions = Predictions(ids=ids, probabilities_BC=p_BC, gold_BC=numpy.eye(3, dtype=int)[gold], labels=LABELS)
    return CellResult(
        metrics=compute_metrics(predictions, intervals=False),
        outcomes=Outcomes.of(predictions),
        selected_on=False,
        data=CellData(num_train=20, num_with_rationale=15),
        curve=[{"step": 1, "classification_loss": 1.0 + seed, "lm_loss": 2.0}],
        steps=1,
        train_tokens=100,
        seconds={"total": 2.0},
        device="a machine",
        precision="no",
        threads=1,
        versions={"torch": "2.13.0"},
    )


@pytest.fixture
def request_(tiny_backbone: Path, tmp_path: Path) -> Request:
    return make_request(tiny_backbone, tmp_path, num_seeds=5)


def fill(request: Request, shares: dict[str, list[float]]) -> list[Cell]:
    cells = final_cells(request, Cache("cpu"), {})
    for cell in cells:
        values = shares[cell.arm.name]
        if cell.config.seed < len(values):
            request.store.save(cell, answers(values[cell.config.seed], cell.config.seed))
    return cells


def report_of(request: Request, shares: dict[str, list[float]], **outcome: Any) -> dict[str, Any]:
    cells = fill(request, shares)
    report = summarize(request, Outcome(cells=cells, **outcome), command="dhrd …", created="2026-01-01")
    assert html(report)
    assert markdown(report)
    return report.to_json()


def test_a_plain_gain_is_told(request_: Request) -> None:
    report = report_of(request_, {"pooled": [0.6] * 5, "dhrd": [0.7, 0.71, 0.69, 0.7, 0.7]})
    primary = report["primary"]
    assert primary["difference"] == pytest.approx(0.1)
    low, high = primary["interval_95"]
    assert 0 < low < 0.1 < high
    assert "DHRD is better than the pooled baseline by 10.0 points" in report["answer"]
    (task,) = report["backbones"][0]["tasks"]
    assert [arm["mean"]["accuracy"] for arm in task["arms"]] == pytest.approx([0.6, 0.7])
    first = task["comparisons"][0]
    assert first["metric"] == "accuracy"
    assert first["p_holm"] == first["p_value"]  # one task: nothing to correct
    assert [one["only_other"] for one in first["mcnemar"]] == [40, 44, 36, 40, 40]
    assert report["backbones"][0]["relative_gain_percent"] == {"dhrd": pytest.approx(100 * 0.1 / 0.6)}
    assert report["undone"] == []


def test_no_gain_is_not_told_and_says_what_it_would_take(request_: Request) -> None:
    report = report_of(request_, {"pooled": [0.6, 0.62, 0.58, 0.6, 0.6], "dhrd": [0.61, 0.59, 0.6, 0.62, 0.58]})
    assert "No difference can be told at n = 400" in report["answer"]
    assert "it would take about" in report["answer"]


def test_arms_are_compared_at_the_seeds_that_both_have(request_: Request) -> None:
    report = report_of(request_, {"pooled": [0.6, 0.6, 0.9, 0.9], "dhrd": [0.7, 0.71]})
    assert report["primary"]["seeds"] == [0, 1]
    assert report["primary"]["difference"] == pytest.approx(0.105)
    assert report["backbones"][0]["average"] == {"pooled": pytest.approx(0.6), "dhrd": pytest.approx(0.705)}
    assert len(report["undone"]) == 1 + 3
    assert {one["why"] for one in report["undone"]} == {"not run"}
    assert any("With 2 seeds" in limit for limit in report["limits"])


def test_one_seed_says_so(request_: Request) -> None:
    report = report_of(replace(request_, num_seeds=1), {"pooled": [0.6], "dhrd": [0.7]})
    assert any("With one seed" in limit for limit in report["limits"])
    assert "one seed" in report["answer"]


def test_failures_and_limits_are_named(request_: Request) -> None:
    cells = final_cells(request_, Cache("cpu"), {})
    failed = next(cell for cell in cells if cell.arm.name == "dhrd" and cell.config.seed == 4)
    report = report_of(
        request_, {"pooled": [0.6] * 5, "dhrd": [0.7, 0.7, 0.7, 0.7]}, failures={failed.key: "lm_loss is nan"}
    )
    assert [one["why"] for one in report["undone"]] == ["failed: lm_loss is nan"]
    assert any("75% of the training rows have a rationale" in limit for limit in report["limits"])
    assert any("not tuned" in limit for limit in report["limits"])
    assert any("One backbone" in limit for limit in report["limits"])


def test_other_rows_in_one_directory_are_refused(request_: Request) -> None:
    cells = fill(request_, {"pooled": [0.6], "dhrd": []})
    other = answers(0.7, 0, prefix="w")
    request_.store.save(next(cell for cell in cells if cell.arm.name == "dhrd"), other)
    with pytest.raises(Exception, match="no row in common"):
        summarize(request_, Outcome(cells=cells), command="", created="")


def test_the_curve_is_the_mean_over_seeds(request_: Request) -> None:
    report = report_of(request_, {"pooled": [0.6] * 5, "dhrd": [0.7] * 5})
    arm = report["backbones"][0]["tasks"][0]["arms"][0]
    assert arm["curve"] == [{"step": 1, "classification_loss": 3.0, "lm_loss": 2.0}]
    assert arm["calibration"]["ece"] == pytest.approx(0.2, abs=1e-6)  # 0.8 sure, 0.6 right


def several_controls(request: Request, directory: Path) -> Request:
    """The same rows as two conditions, and an arm with two controls."""
    control = Arm(name="control", title="control", settings={"loss.lm_targets": "continuation"}, baselines=("pooled",))
    data = {f"data.{part}": str(directory / f"{part}.jsonl") for part in ("train", "validation")}
    conditions = tuple(
        Condition(name=f"rows{number}", settings={**data, "data.train_limit": number}, factors={"rows": number})
        for number in (10, 20)
    )
    arms = (POOLED, control, replace(DHRD, baselines=("pooled", "control", "not_asked_for")))
    study = Study(
        name="s", title="Controls", question="?", arms=arms, primary=("pooled", "dhrd"), conditions=conditions
    )
    return replace(request, study=study, tasks=("rows10", "rows20"), arms=arms, num_seeds=None)


def test_an_arm_is_compared_with_each_of_its_controls(request_: Request, tmp_path: Path) -> None:
    write_rows(tmp_path)
    request = several_controls(request_, tmp_path)
    report = report_of(request, {"pooled": [0.6] * 5, "control": [0.68] * 5, "dhrd": [0.7, 0.71, 0.69, 0.7, 0.7]})
    (backbone,) = report["backbones"]
    assert [task["factors"] for task in backbone["tasks"]] == [{"rows": 10}, {"rows": 20}]
    for task in backbone["tasks"]:
        found = {
            (one["baseline"], one["other"]): one for one in task["comparisons"] if one["metric"] == task["metrics"][0]
        }
        assert set(found) == {("pooled", "control"), ("pooled", "dhrd"), ("control", "dhrd")}
        assert found["pooled", "dhrd"]["difference"] == pytest.approx(0.1)
        assert found["control", "dhrd"]["difference"] == pytest.approx(0.02)
        for one in found.values():  # a family is a pair over both tasks, whose p-values are equal here
            assert one["p_holm"] == pytest.approx(min(1.0, 2 * one["p_value"]))
    over = {(one["baseline"], one["other"]): one for one in backbone["over_tasks"]}
    assert over["control", "dhrd"]["difference"] == pytest.approx(0.02)
    assert over["control", "dhrd"]["num_tasks"] == 2
    assert backbone["relative_gain_percent"]["dhrd"] == pytest.approx(100 * 0.1 / 0.6)  # of the first baseline
    assert "Differences over all tasks that have both arms" in markdown(Report.model_validate(report))


def test_the_table_shows_each_control(
    request_: Request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    write_rows(tmp_path)
    request = several_controls(request_, tmp_path)
    report = report_of(request, {"pooled": [0.6] * 5, "control": [0.68] * 5, "dhrd": [0.7] * 5})
    study_table(Report.model_validate(report))
    lines = [line for line in capsys.readouterr().out.splitlines() if "+0." in line]
    assert [line.split("│")[6].strip() for line in lines] == ["pooled", "pooled", "control"] * 2
