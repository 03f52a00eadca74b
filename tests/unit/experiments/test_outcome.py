"""What there is of a study: cells that wait for a choice, choices that are told once, failures that stay."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from dhrd.experiments.cache import Cache
from dhrd.experiments.outcome import Outcome, look, num_waiting
from helpers.experiments import cell_result, make_request


def test_a_look_finds_what_is_chosen_and_tells_it_once(
    tiny_backbone: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    request = make_request(tiny_backbone, tmp_path, num_seeds=2, grid={"training.learning_rate": (1e-4, 1e-3)})
    cache = Cache("cpu")
    before = look(request, cache)
    assert (before.cells, before.choices, len(before.judges)) == ([], {}, 2 * 2 * 5)
    assert num_waiting(request, before) == 4
    for cell in before.judges:
        if cell.arm.name == "dhrd":
            request.store.save(cell, cell_result(accuracy=cell.config.training.learning_rate))
    with caplog.at_level(logging.INFO, logger="dhrd"):
        after = look(request, cache, before)
        assert look(request, cache, after).choices == after.choices
    assert [(key[2], point) for key, point in after.choices.items()] == [("dhrd", {"training.learning_rate": 1e-3})]
    assert [record.getMessage().partition(": ")[2] for record in caplog.records] == ["training.learning_rate=0.001"]
    assert [cell.arm.name for cell in after.cells] == ["dhrd", "dhrd"]
    assert num_waiting(request, after) == 2


def test_what_failed_before_still_has(tiny_backbone: Path, tmp_path: Path) -> None:
    request = make_request(tiny_backbone, tmp_path)
    assert look(request, Cache("cpu"), Outcome(failures={"key": "why"})).failures == {"key": "why"}
