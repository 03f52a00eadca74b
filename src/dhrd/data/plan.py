"""Which rows make which update: a pure function of inputs, seed, epoch and rows per update.

Of the inputs their lengths count, or, where rows that begin alike are put together, their tokens; never the rationale.
So the pooled baseline and DHRD see the same rows in the same updates, and so do any split into micro-batches and any
number of processes; a position in training is (epoch, step).
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import numpy as np

from dhrd.data.prefixes import MAX_DEPTH, branches, in_order

_POOL_UPDATES = 16  # rows are sorted by length within this many updates' worth: little padding, still random


def plan_epoch(lengths: Sequence[int], *, seed: int, epoch: int, rows_per_update: int) -> list[tuple[int, ...]]:
    """The updates of one epoch.

    Args:
        lengths: Input tokens of each row.
        seed: The run's seed.
        epoch: 0, 1, 2 …
        rows_per_update: The effective batch size: micro-batch x accumulation x processes.

    Returns:
        Row indices of each update, every row once; the last update of the pool is short where they do not divide.

    Example:
        >>> plan_epoch([3, 9, 4, 8], seed=0, epoch=0, rows_per_update=2)
        [(0, 2), (3, 1)]
    """
    rng = random.Random(f"plan {seed} {epoch}")
    rows = list(range(len(lengths)))
    rng.shuffle(rows)
    pool_size = rows_per_update * _POOL_UPDATES
    updates: list[tuple[int, ...]] = []
    for start in range(0, len(rows), pool_size):
        pool = sorted(rows[start : start + pool_size], key=lambda row: lengths[row])
        updates += [tuple(pool[i : i + rows_per_update]) for i in range(0, len(pool), rows_per_update)]
    rng.shuffle(updates)
    return updates


_LEAST_SHARED = 16  # first tokens that rows must have in common to be kept together: a marker or a word is chance


def plan_epoch_by_prefix(
    input_ids: Sequence[Sequence[int]], *, seed: int, epoch: int, rows_per_update: int
) -> list[tuple[int, ...]]:
    """As `plan_epoch`, with rows that begin alike next to each other.

    The rows are the leaves of the tree of their common beginnings. It is walked with the branches of every fork in an
    order drawn at random each time, the walk is cut into updates, and these are shuffled.

    Args:
        input_ids: Input tokens of each row.
        seed: The run's seed.
        epoch: 0, 1, 2 …
        rows_per_update: The effective batch size.
    """
    rng = random.Random(f"plan by prefix {seed} {epoch}")
    order, common = in_order(input_ids)
    common[common < _LEAST_SHARED] = 0
    walk = [order[at] for at in _shuffled_leaves(common, 0, len(order), rng, 0)]
    updates = [tuple(walk[i : i + rows_per_update]) for i in range(0, len(walk), rows_per_update)]
    rng.shuffle(updates)
    return updates


def _shuffled_leaves(common: np.ndarray, low: int, high: int, rng: random.Random, depth: int) -> list[int]:
    """The leaves `low` to `high` of a tree, given what each has in common with the one before it."""
    if high - low == 1:
        return [low]
    runs = branches(common, low, high, int(common[low + 1 : high].min()))
    rng.shuffle(runs)
    if depth == MAX_DEPTH:
        return [at for first, last in runs for at in range(first, last)]
    return [at for first, last in runs for at in _shuffled_leaves(common, first, last, rng, depth + 1)]


def num_updates(num_rows: int, rows_per_update: int) -> int:
    """Updates in one epoch."""
    return math.ceil(num_rows / rows_per_update)


def micro_batches(
    update: Sequence[int], *, batch_size: int, num_processes: int = 1, process_index: int = 0
) -> list[tuple[int, ...]]:
    """One process's slices of an update.

    Every process gets the same number of slices, so that all take part in every collective; a slice is empty where
    a short update has no rows left for it.
    """
    slices = [tuple(update[i : i + batch_size]) for i in range(0, len(update), batch_size)]
    rounds = math.ceil(len(slices) / num_processes)
    slices += [()] * (rounds * num_processes - len(slices))
    return slices[process_index::num_processes]
