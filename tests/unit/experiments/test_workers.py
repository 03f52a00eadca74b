"""Processes that run cells."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import pytest

from dhrd.errors import NonFiniteError
from dhrd.experiments import workers
from dhrd.experiments.cache import Cache
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
