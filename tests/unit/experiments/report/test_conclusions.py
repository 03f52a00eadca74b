"""What a study answers, and what cannot be concluded."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from dhrd.experiments.cache import Cache
from dhrd.experiments.plan import Request, final_cells
from helpers.experiments import make_request
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


def test_a_first_question_that_was_not_asked_is_not_called_unfinished(request_: Request) -> None:
    alone = replace(request_, arms=tuple(arm for arm in request_.arms if arm.name == "pooled"), num_seeds=1)
    report = report_of(alone, {"pooled": [0.6]})
    assert report["answer"] == "The study's first question is not answered here, as it was run without DHRD."


def test_arms_that_the_settings_make_one_are_named(tiny_backbone: Path, tmp_path: Path) -> None:
    losses = [f"loss.{name}" for name in ("privileged_weight=1", "keyword_weight=1", "classification_weight=0.2")]
    request = make_request(tiny_backbone, tmp_path, *losses, study="reasoning", arms=("pooled", "dhrd", "best"))
    report = report_of(request, {"pooled": [0.6], "dhrd": [0.7], "best": [0.7]})
    same = "DHRD and DHRD+ are the same training with these settings, so no difference is shown."
    assert [limit for limit in report["limits"] if "same training" in limit] == [same]


def test_an_interval_over_rows_for_want_of_one_over_seeds_says_so(request_: Request) -> None:
    report = report_of(replace(request_, num_seeds=2), {"pooled": [0.6, 0.6], "dhrd": [0.7, 0.7]})
    assert "over rows alone: all 2 seeds have the same difference" in report["answer"]
    assert any("its interval is over rows at these seeds" in limit for limit in report["limits"])
    other = report_of(replace(request_, num_seeds=2), {"pooled": [0.6, 0.6], "dhrd": [0.7, 0.72]})
    assert not any("its interval is over rows" in limit for limit in other["limits"])


def test_backbones_of_one_short_name_are_told_apart(tiny_backbone: Path, tmp_path: Path) -> None:
    places = [tmp_path / run / "model" for run in ("a", "b")]
    for place in places:
        shutil.copytree(tiny_backbone, place)
    request = replace(make_request(tiny_backbone, tmp_path), backbones=tuple(map(str, places)))
    report = report_of(request, {"pooled": [0.6], "dhrd": [0.7]})
    assert [backbone["name"] for backbone in report["backbones"]] == [str(place) for place in places]
    one = report_of(replace(request, backbones=(str(places[0]),)), {"pooled": [0.6], "dhrd": [0.7]})
    assert [backbone["name"] for backbone in one["backbones"]] == ["model"]
