"""Processes that run cells."""

from __future__ import annotations

from pathlib import Path

from dhrd.experiments.reproduce import reproduce
from helpers.experiments import make_request


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
