"""A cache of the keys and values of prefixes that rows of several batches share.

Admission follows a page cache (2Q: Johnson and Shasha 1994, VLDB): the prefixes of recent batches are first remembered
by their tokens only, up to as many tokens as may be kept. A prefix that comes again while it is remembered would have
been a hit, so from then on it is kept. A prefix that comes only once therefore displaces nothing.

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
    """Values by token prefix, found by a row's first tokens; the least recently used ones are evicted.

    Args:
        max_tokens: Maximum tokens of all entries together.
        least: Minimum number of common tokens for a match.
    """

    def __init__(self, max_tokens: int, least: int) -> None:
        self.max_tokens, self.least, self.num_tokens = max_tokens, max(1, least), 0
        self._values: OrderedDict[tuple[int, ...], Value] = OrderedDict()  # most recently used last
        self._sorted: list[tuple[int, ...]] = []

    def longest(self, ids: Sequence[int]) -> tuple[int, Value | None]:
        """The entry with the longest common prefix with a row: the number of common tokens and the value."""
        row = tuple(ids)
        at = bisect_left(self._sorted, row)  # among sorted sequences, neighbours share the longest prefixes
        near = [entry for entry in self._sorted[max(0, at - 1) : at + 1] if entry[: self.least] == row[: self.least]]
        lengths = {entry: common_length(np.asarray(entry), np.asarray(row)) for entry in near}
        best = max(lengths, key=lengths.__getitem__, default=())
        if lengths.get(best, 0) < self.least:
            return 0, None
        self._values.move_to_end(best)
        return lengths[best], self._values[best]

    def put(self, ids: Sequence[int], value: Value) -> None:
        """Add an entry, unless it has more tokens than `max_tokens`."""
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
    """The cached computation of a prefix.

    Args:
        cache: A `transformers.DynamicCache` of its keys and values.
        num_tokens: P.
        hidden_PD: Last hidden states; None if the pooling does not need them.
    """

    cache: Any
    num_tokens: int
    hidden_PD: Tensor | None = None

    def fork(self) -> Any:
        """A copy of the cache that can grow independently; tensors are shared until then."""
        forked = copy.copy(self.cache)
        forked.layers = [copy.copy(layer) for layer in self.cache.layers]
        return forked

    def first(self, num_tokens: int) -> Prefix:
        """The prefix cut to its first tokens, which is exact as attention is causal."""
        cache = self.fork()
        if num_tokens < self.num_tokens:
            cache.crop(num_tokens - self.num_tokens)
        return Prefix(cache, num_tokens, None if self.hidden_PD is None else self.hidden_PD[:num_tokens])


class KeptPrefixes:
    """The prefixes of one model that occurred in more than one batch. Not thread-safe, as the model is not.

    Args:
        max_tokens: Maximum tokens to keep; 0: keep nothing.
        least: Minimum length of a prefix worth a pass of its own.
    """

    def __init__(self, max_tokens: int, least: int) -> None:
        self._kept: Beginnings[Prefix] = Beginnings(max_tokens, least)
        self._seen: Beginnings[None] = Beginnings(max_tokens, least)

    @property
    def num_tokens(self) -> int:
        """Number of tokens whose keys and values are kept."""
        return self._kept.num_tokens

    def past(self, input_ids: Sequence[Sequence[int]]) -> list[Past]:
        """What is known about the prefixes of rows."""
        return [Past(self._kept.longest(ids)[0], self._seen.longest(ids)[0]) for ids in input_ids]

    def find(self, ids: Sequence[int]) -> Prefix | None:
        """The longest kept prefix of `ids`."""
        length, prefix = self._kept.longest(ids)
        return prefix.first(length) if prefix is not None else None

    def offer(self, ids: Sequence[int], prefix: Prefix) -> None:
        """Keep a computed prefix if an earlier batch had it too."""
        if self._seen.longest(ids)[0] > self._kept.longest(ids)[0]:
            self._kept.put(ids, prefix)

    def remember(self, groups: Sequence[Group], input_ids: Sequence[Sequence[int]]) -> None:
        """Remember the shared prefixes of a computed batch's groups."""
        for group in groups:
            pack = group.packs[0]
            alone = len(group.packs) == len(pack.rows) == 1
            ids = input_ids[pack.rows[0]]
            common = len(ids) if alone else group.num_prefix_tokens or min(pack.shared[1:])
            self._seen.put(ids[: min(common, self._seen.max_tokens)], None)
