"""What the report says of cells whose answers are known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dhrd.cli.show import study_table
from dhrd.experiments.cell_result import CellData
from dhrd.experiments.outcome import Outcome
from dhrd.experiments.plan import Request
from dhrd.experiments.report.render import markdown
from dhrd.experiments.report.schema import Report
from dhrd.experiments.report.summary import summarize
from dhrd.experiments.study import DHRD, POOLED, Arm, Condition, Study
from helpers.runs import write_rows
from helpers.study import answers, fill, report_of


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


def test_the_rows_are_those_of_the_largest_arm_and_averages_those_of_arms_with_the_same(request_: Request) -> None:
    """An arm with a share of the training rows, and one that answered some of the held-out rows alone."""
    cells = fill(request_, {"pooled": [0.6] * 5, "dhrd": [0.7] * 5})

    def change(arm: str, **changes: Any) -> dict[str, Any]:
        for cell in cells:
            result = request_.store.find(cell)
            assert result is not None
            if cell.arm.name == arm:
                request_.store.save(cell, result.model_copy(update=changes))
        backbones: list[dict[str, Any]] = summarize(request_, Outcome(cells=cells), command="", created="").to_json()[
            "backbones"
        ]
        return backbones[0]

    backbone = change("pooled", data=CellData(num_train=5, num_with_rationale=3))
    assert (backbone["tasks"][0]["num_train"], backbone["tasks"][0]["num_with_rationale"]) == (20, 15)
    assert backbone["average_over"]
    some = answers(0.7, 0).outcomes.rows(list(range(40)))
    backbone = change("dhrd", outcomes=some)
    assert [arm["num_rows"] for arm in backbone["tasks"][0]["arms"]] == [400, 40]
    assert not backbone["average_over"]
