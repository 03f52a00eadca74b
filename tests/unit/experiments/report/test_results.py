"""Which cells are paired."""

from __future__ import annotations

import pytest

from dhrd.experiments.outcome import Outcome
from dhrd.experiments.plan import Request
from dhrd.experiments.report.summary import summarize
from helpers.study import answers, fill, report_of


def test_arms_are_compared_at_the_seeds_that_both_have(request_: Request) -> None:
    report = report_of(request_, {"pooled": [0.6, 0.6, 0.9, 0.9], "dhrd": [0.7, 0.71]})
    assert report["primary"]["seeds"] == [0, 1]
    assert report["primary"]["difference"] == pytest.approx(0.105)
    assert report["backbones"][0]["average"] == {"pooled": pytest.approx(0.6), "dhrd": pytest.approx(0.705)}
    assert len(report["undone"]) == 1 + 3
    assert {one["why"] for one in report["undone"]} == {"not run"}
    assert any("With 2 seeds" in limit for limit in report["limits"])


def test_other_rows_in_one_directory_are_refused(request_: Request) -> None:
    cells = fill(request_, {"pooled": [0.6], "dhrd": []})
    other = answers(0.7, 0, prefix="w")
    request_.store.save(next(cell for cell in cells if cell.arm.name == "dhrd"), other)
    with pytest.raises(Exception, match="no rows in common"):
        summarize(request_, Outcome(cells=cells), command="", created="")
