"""Beginnings that rows of several batches have in common: their keys and values, kept from batch to batch.

Which are worth it is found out as by a cache of pages (2Q: Johnson and Shasha 1994, VLDB): the beginnings of the last
batches are remembered by their tokens alone, as many tokens as may be kept. One that a later batch begins with while it
is remembered would have been there, had it been kept; from then on it is. So what comes once displaces nothing.

Keys and values are never stale: they belong to weights that do not change (`Options.max_kept_tokens`).
"""

from __future__ import annotations

import copy
from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from torch import Tensor

from dhrd.data.prefixes import Group, Past, common_length

Value = TypeVar("Value")


class Beginnings(Generic[Value]):
    """Values by their tokens, found by what a row begins with; those that were not used the longest leave.

    Args:
        max_tokens: Of all of them.
        least: Fewer common tokens are none.
    """

    def __init__(self, max_tokens: int, least: int) -> None:
        self.max_tokens, self.least, self.num_tokens = max_tokens, max(1, least), 0
        self._values: OrderedDict[tuple[int, ...], Value] = OrderedDict()  # the last used at the end
        self._sorted: list[tuple[int, ...]] = []

    def longest(self, ids: Sequence[int]) -> tuple[int, Value | None]:
        """How many tokens a row has in common with the entry that it has the most with, and that entry's value."""
        row = tuple(ids)
        at = bisect_left(self._sorted, row)  # of sorted sequences the neighbours have the most in common
        near = [entry for entry in self._sorted[max(0, at - 1) : at + 1] if entry[: self.least] == row[: self.least]]
        lengths = {entry: common_length(np.asarray(entry), np.asarray(row)) for entry in near}
        best = max(lengths, key=lengths.__getitem__, default=())
        if lengths.get(best, 0) < self.least:
            return 0, None
        self._values.move_to_end(best)
        return lengths[best], self._values[best]

    def put(self, ids: Sequence[int], value: Value) -> None:
        """Add an entry; one of more tokens than there may be is left out."""
        entry = tuple(ids)
        if not self.least <= len(entry) <= self.max_tokens:
            return
        if entry not in self._values:
            insort(self._sorted, entry)
            self.num_tokens += len(entry)
        self._values[entry] = value
        self._values.move_to_end(entry)
        while self.num_tokens > self.max_tokens:
            oldest, _ = self._values.popitem(last=False)
            del self._sorted[bisect_left(self._sorted, oldest)]
            self.num_tokens -= len(oldest)


@dataclass(frozen=True, slots=True)
class Prefix:
    """What was computed of a beginning.

    Args:
        cache: A `transformers.DynamicCache` of its keys and values.
        num_tokens: P.
        hidden_PD: Last hidden states; None: no pooling reads them.
    """

    cache: Any
    num_tokens: int
    hidden_PD: Tensor | None = None

    def fork(self) -> Any:
        """A cache that grows by itself: the tensors are shared, and growing replaces them."""
        forked = copy.copy(self.cache)
        forked.layers = [copy.copy(layer) for layer in self.cache.layers]
        return forked

    def first(self, num_tokens: int) -> Prefix:
        """Its first tokens: none of them saw what came after it."""
        cache = self.fork()
        if num_tokens < self.num_tokens:
            cache.crop(num_tokens - self.num_tokens)
        return Prefix(cache, num_tokens, None if self.hidden_PD is None else self.hidden_PD[:num_tokens])


class KeptPrefixes:
    """The prefixes of one model that more than one batch has had. Not safe for threads, as the model is not.

    Args:
        max_tokens: Of all that is kept; 0: nothing is.
        least: Shorter ones are not worth a pass.
    """

    def __init__(self, max_tokens: int, least: int) -> None:
        self._kept: Beginnings[Prefix] = Beginnings(max_tokens, least)
        self._seen: Beginnings[None] = Beginnings(max_tokens, least)

    @property
    def num_tokens(self) -> int:
        """Whose keys and values are kept."""
        return self._kept.num_tokens

    def past(self, input_ids: Sequence[Sequence[int]]) -> list[Past]:
        """What is known of the beginnings of rows."""
        return [Past(self._kept.longest(ids)[0], self._seen.longest(ids)[0]) for ids in input_ids]

    def find(self, ids: Sequence[int]) -> Prefix | None:
        """The first tokens of `ids`, as many as are kept."""
        length, prefix = self._kept.longest(ids)
        return prefix.first(length) if prefix is not None else None

    def offer(self, ids: Sequence[int], prefix: Prefix) -> None:
        """Keep what was computed, if an earlier batch had more of it than is kept."""
        if self._seen.longest(ids)[0] > self._kept.longest(ids)[0]:
            self._kept.put(ids, prefix)

    def remember(self, groups: Sequence[Group], input_ids: Sequence[Sequence[int]]) -> None:
        """The beginnings of a batch, once it is computed: what the rows of a group have in common."""
        for group in groups:
            pack = group.packs[0]
            alone = len(group.packs) == len(pack.rows) == 1
            ids = input_ids[pack.rows[0]]
            common = len(ids) if alone else group.num_prefix_tokens or min(pack.shared[1:])
            self._seen.put(ids[: min(common, self._seen.max_tokens)], None)
