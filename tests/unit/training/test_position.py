"""Where a run stands after each update, and where it cannot stand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dhrd.training.position import Position, is_possible, next_position


def test_updates_are_counted_within_epochs() -> None:
    position, seen = Position(best_value=0.5), []
    for _ in range(5):
        position = next_position(position, updates_per_epoch=2)
        seen.append((position.step, position.epoch, position.update))
    assert seen == [(1, 0, 1), (2, 1, 0), (3, 1, 1), (4, 2, 0), (5, 2, 1)]
    assert position.best_value == 0.5


@pytest.mark.parametrize(
    ("changes", "possible"),
    [
        ({}, True),
        ({"best_step": 5}, True),
        ({"best_step": 6}, False),
        ({"step": 4}, False),
        ({"update": 2, "epoch": 1, "step": 4}, False),
        ({"epoch": 4, "step": 9}, False),
    ],
)
def test_a_position_is_of_a_run_of_eight_updates(changes: dict[str, int], possible: bool) -> None:
    position = replace(Position(step=5, epoch=2, update=1), **changes)
    assert is_possible(position, updates_per_epoch=2, num_updates=8) is possible
