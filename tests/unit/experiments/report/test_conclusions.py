"""What a study answers, and what cannot be concluded."""

from __future__ import annotations

from dataclasses import replace

from dhrd.experiments.cache import Cache
from dhrd.experiments.plan import Request, final_cells
from helpers.study import report_of


def test_no_gain_is_not_told_and_says_what_it_would_take(request_: Request) -> None:
    report = report_of(request_, {"pooled": [0.6, 0.62, 0.58, 0.6, 0.6], "dhrd": [0.61, 0.59, 0.6, 0.62, 0.58]})
    assert "No difference can be told at n = 400" in report["answer"]
    assert "an observed one of about" in report["answer"]


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
