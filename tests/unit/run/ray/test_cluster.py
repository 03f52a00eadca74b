"""Which workers a cluster gets."""

from __future__ import annotations

from typing import Any

import pytest

from dhrd.errors import ConfigError
from dhrd.run.ray.cluster import Workers, workers_of


def nodes(*resources: tuple[int, int], alive: bool = True) -> list[dict[str, Any]]:
    """Machines of so many cores and GPUs, and one that is gone."""
    gone = {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}}
    return [
        {"Alive": alive, "Resources": {"CPU": float(c), **({"GPU": float(g)} if g else {})}} for c, g in resources
    ] + [gone]


@pytest.mark.parametrize(
    ("machines", "num_workers", "device", "expected"),
    [
        ([(2, 0)], None, None, Workers(1, 2)),
        ([(2, 0)], 2, None, Workers(2, 1)),
        ([(8, 0), (8, 0)], None, "cpu", Workers(2, 8)),
        ([(4, 0), (12, 0)], 2, None, Workers(2, 6)),  # both on the larger one
        ([(5, 0), (5, 0)], 3, None, Workers(3, 2)),
        ([(16, 4), (16, 4)], None, None, Workers(8, 4, 1)),
        ([(16, 4), (64, 0)], 4, "cuda", Workers(4, 4, 1)),  # a machine without a GPU has no room for one
        ([(16, 4)], None, "cpu", Workers(1, 16)),
    ],
)
def test_each_has_as_much_as_all_find_room_for(
    machines: Any, num_workers: int | None, device: str | None, expected: Workers
) -> None:
    assert workers_of(nodes(*machines), num_workers, device) == expected
    assert expected.device == ("cuda" if expected.num_gpus else "cpu")


@pytest.mark.parametrize(
    ("machines", "num_workers", "device", "message"),
    [
        ([(2, 0)], 3, None, r"`num_workers=3`: a worker needs a core, but the cluster has 2 cores and 0 GPUs"),
        ([(8, 1)], 2, None, r"a core and a GPU, but the cluster has 8 cores and 1 GPUs"),
        ([(2, 0)], None, "cuda", "no machine of the cluster has a GPU"),
        ([(2, 1)], None, "cuda:1", "a worker has one GPU or none"),
        ([], None, None, "the cluster has 0 cores"),
    ],
)
def test_what_there_is_not_is_refused(machines: Any, num_workers: int | None, device: str | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        workers_of(nodes(*machines), num_workers, device)
