"""Processes that run cells."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import pytest
import torch

from dhrd.errors import NonFiniteError
from dhrd.experiments import workers
from dhrd.experiments.cache import Cache
from dhrd.experiments.cell_result import CellResult
from dhrd.experiments.cells import Cell
from dhrd.experiments.reproduce import reproduce
from dhrd.experiments.workers import in_process, result_of
from helpers.experiments import cell, make_request


def test_processes_give_what_one_gives(tiny_backbone: Path, tmp_path: Path) -> None:
    alone, together = (make_request(tiny_backbone, tmp_path / name) for name in ("one", "two"))
    one, two = reproduce(alone, device="cpu"), reproduce(together, jobs=2, device="cpu")
    assert not one.failures
    assert not two.failures
    for ours, theirs in zip(one.cells, two.cells, strict=True):
        assert ours.key == theirs.key
        first, second = alone.store.find(ours), together.store.find(theirs)
        assert first is not None
        assert second is not None
        assert first.outcomes.to_json() == second.outcomes.to_json()


def test_in_this_process_what_a_cell_raises_is_raised_where_its_result_is_asked_for(
    tiny_backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverges(_cell: object, _cache: object) -> NoReturn:
        raise NonFiniteError("step 3: lm_loss is nan")

    monkeypatch.setattr(workers, "run_cell", diverges)
    future = in_process(Cache("cpu"))(cell(make_request(tiny_backbone, tmp_path)))
    with pytest.raises(NonFiniteError, match="step 3"):
        result_of(future)


def test_memory_that_runs_out_in_one_cell_leaves_the_others(
    tiny_backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_cell = workers.run_cell

    def too_large(cell: Cell, cache: Cache) -> CellResult:
        if cell.arm.name == "pooled":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 128.00 MiB.")
        return run_cell(cell, cache)

    monkeypatch.setattr(workers, "run_cell", too_large)
    outcome = reproduce(make_request(tiny_backbone, tmp_path), device="cpu")
    assert outcome.failures and len(outcome.failures) < len(outcome.cells)
    for one in outcome.cells:
        if one.key in outcome.failures:
            assert one.arm.name == "pooled"
            assert "memory ran out (CUDA out of memory. Tried" in outcome.failures[one.key]
            assert "smaller `jobs`" in outcome.failures[one.key]
