"""Grouping inputs of similar length into batches by their number of tokens."""

from __future__ import annotations

from collections.abc import Sequence

_MAX_PADDING = 0.03  # of a batch's tokens


def buckets(lengths: Sequence[int], max_tokens: int, overhead_tokens: int = 0) -> list[list[int]]:
    """Indices of inputs in batches of similar length, as full as possible, with little padding.

    A batch ends before it has more than `max_tokens`, padding included (a longer input is a batch of one), or more
    padding than 3 % of its tokens and than a pass costs.

    Args:
        lengths: Number of tokens of each input.
        max_tokens: Maximum tokens of a batch, including padding.
        overhead_tokens: Cost of another batch, in tokens.
    """
    found: list[list[int]] = []
    batch: list[int] = []
    num_tokens = 0
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        length = lengths[index]
        run = length * (len(batch) + 1)
        padding = run - num_tokens - length
        if batch and (run > max_tokens or padding > max(overhead_tokens, _MAX_PADDING * run)):
            found.append(batch)
            batch, num_tokens = [], 0
        batch.append(index)
        num_tokens += length
    return [*found, batch] if batch else found
