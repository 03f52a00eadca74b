"""Which rows share their first tokens, and how to compute what they share once.

Rows in lexicographic order of their tokens form a tree: each row has some first tokens in common with the row before
it, and the rest is new. A `Pack` is a run of such rows laid out in one sequence, every shared token
once. A `Group` is packs over one common prefix that is computed before them and kept as keys and values.

What is computed how is a matter of cost, in units of one token's linear layers:

    a row alone, n tokens                     n + a · n² / 2
    a pack of T tokens                        T + a · T²            (a dense mask: every query meets every key)
    the same, attending block by block        T + a · Σ new · row   (each row's new tokens meet its own alone)
    c tokens of a pack after a prefix of P    c + a · c · (P + c)

A prefix whose keys and values earlier batches left behind (`inference/engine/kept.py`) costs nothing, and one that an
earlier batch had, too, its pass alone: later batches will find it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import numpy as np

_MARGIN = 0.95  # by this factor sharing must cost less than the rows apart
MAX_DEPTH = 64
"""Maximum depth of trees in trees; deeper ones are not searched."""


@dataclass(frozen=True, slots=True)
class Pack:
    """Rows in one sequence, every token that they share once.

    Args:
        rows: Indices of the inputs, in lexicographic order of their tokens; a pack of one is an ordinary row.
        shared: For each row, how many of its first tokens are there already: those of the row before it, for the
            first row those of the group's prefix.
        num_tokens: Length of the sequence.
    """

    rows: tuple[int, ...]
    shared: tuple[int, ...]
    num_tokens: int


@dataclass(frozen=True, slots=True)
class Group:
    """Packs after one common prefix.

    Args:
        packs: The packs, in the order of their rows.
        num_prefix_tokens: Prefix tokens, computed once for all packs; 0: the packs have no prefix.
        num_kept_tokens: Prefix tokens that an earlier batch computed.
    """

    packs: tuple[Pack, ...]
    num_prefix_tokens: int = 0
    num_kept_tokens: int = 0


class Past(NamedTuple):
    """How many first tokens of a row earlier batches had.

    Args:
        num_kept: Tokens whose keys and values are kept.
        num_seen: Tokens that were in a recent batch.
    """

    num_kept: int = 0
    num_seen: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SharingCost:
    """What decides whether sharing pays.

    Args:
        pair: a of the formulas: one (query, key) pair, in tokens.
        overhead: Cost of a forward pass, in tokens; packs after a prefix run one at a time.
        max_pack_tokens: Maximum length of a pack; its mask has the square of it.
        max_suffix_tokens: Maximum length of a pack after a prefix.
        keep_prefixes: Whether a prefix may be computed before its packs and its keys and values kept; if not, as in
            training, rows that do not fit into one pack go into several, each with its own prefix.
        dense: Whether in a pack every query meets every key; otherwise only those of its own row.
    """

    pair: float
    overhead: float = 64.0
    max_pack_tokens: int = 2048
    max_suffix_tokens: int = 512
    keep_prefixes: bool = True
    dense: bool = True


def apart(lengths: Sequence[int]) -> list[Group]:
    """Every row by itself."""
    return [Group((Pack((row,), (0,), length),)) for row, length in enumerate(lengths)]


def plan_sharing(
    input_ids: Sequence[Sequence[int]], cost: SharingCost, past: Sequence[Past] | None = None
) -> list[Group]:
    """Groups that cover every row once, at the least cost that this planner finds.

    Args:
        input_ids: Tokens of each row, none empty.
        cost: The costs to minimise.
        past: The past of each row; None: there were no earlier batches.
    """
    past = past if past is not None else [Past()] * len(input_ids)
    return _Planner(input_ids, cost, past).plan() if len(input_ids) else []


@dataclass(frozen=True, slots=True)
class _Option:
    cost: float
    groups: list[Group]


@dataclass(slots=True)
class _Planner:
    """Lays the least-cost plan over the tree of common prefixes, from the whole run of rows down to single rows."""

    input_ids: Sequence[Sequence[int]]
    cost: SharingCost
    past: Sequence[Past]
    order: list[int] = field(init=False)
    length: list[int] = field(init=False)
    common: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.order, self.common = in_order(self.input_ids)
        self.length = [len(self.input_ids[row]) for row in self.order]

    def plan(self) -> list[Group]:
        return self._best(0, len(self.order), 0).groups

    def _best(self, low: int, high: int, depth: int) -> _Option:
        """The least cost of the rows `low` to `high` of the order."""
        if high - low == 1:
            shared, separate = self.length[low], self._alone(low)
        else:
            shared = int(self.common[low + 1 : high].min())
            separate = self._separate(low, high, shared, depth)
        together = [self._after_prefix(low, high, prefix) for prefix in self._prefixes(low, high, shared)]
        if shared and high - low > 1:
            together += self._packed(low, high)
        least = min(together, key=lambda option: option.cost, default=separate)
        return least if least.cost <= _MARGIN * separate.cost else separate

    def _separate(self, low: int, high: int, shared: int, depth: int) -> _Option:
        """The rows in runs that have more in common than `shared`, each run by itself."""
        deeper = self._best if depth < MAX_DEPTH else self._flat
        children = [deeper(first, last, depth + 1) for first, last in branches(self.common, low, high, shared)]
        return _Option(sum(child.cost for child in children), [g for child in children for g in child.groups])

    def _prefixes(self, low: int, high: int, shared: int) -> set[int]:
        """Lengths that a prefix of the rows may have: what they share, and what earlier batches had of it."""
        most = min(shared, *(length - 1 for length in self.length[low:high]))  # every row keeps a token of its own
        own = {most} if high - low > 1 and self.cost.keep_prefixes else set()
        lengths = own | {min(most, had) for had in self._past(low)}
        return {length for length in lengths if length >= max(1, self.cost.overhead)}

    def _flat(self, low: int, high: int, depth: int) -> _Option:
        """As `_best`, but without looking for trees in the tree."""
        alone = [self._alone(at) for at in range(low, high)]
        apart = _Option(sum(one.cost for one in alone), [one.groups[0] for one in alone])
        return min([apart, *self._packed(low, high)], key=lambda option: option.cost)

    def _alone(self, at: int) -> _Option:
        pack = Pack((self.order[at],), (0,), self.length[at])
        return _Option(self._cost_of(pack), [Group((pack,))])

    def _packed(self, low: int, high: int) -> list[_Option]:
        """In one pack; where prefixes cannot be kept, also in several, each with what its rows share."""
        most = self.cost.max_pack_tokens
        if self.cost.keep_prefixes:
            packs = [self._pack(low, high, 0)]
            return [self._side_by_side(packs)] if packs[0].num_tokens <= most else []
        return [self._side_by_side(self._cut(low, high, 0, most >> halvings)) for halvings in range(4)]

    def _side_by_side(self, packs: Sequence[Pack]) -> _Option:
        return _Option(sum(map(self._cost_of, packs)), [Group((pack,)) for pack in packs])

    def _cost_of(self, pack: Pack) -> float:
        if len(pack.rows) == 1:
            pairs = pack.num_tokens**2 / 2  # causal
        elif self.cost.dense:
            pairs = float(pack.num_tokens) ** 2
        else:
            lengths = [len(self.input_ids[row]) for row in pack.rows]
            pairs = sum((length - seen) * length for length, seen in zip(lengths, pack.shared, strict=True))
        return pack.num_tokens + self.cost.pair * pairs

    def _after_prefix(self, low: int, high: int, prefix: int) -> _Option:
        packs = self._cut(low, high, prefix, self.cost.max_suffix_tokens)
        cost, overhead = self.cost.pair, self.cost.overhead
        kept, seen = (min(prefix, had) for had in self._past(low))
        new = max(kept, seen)  # up to there later batches pay
        total = prefix - new + cost * (prefix**2 - new**2) / 2 + (overhead if kept < prefix else 0)
        for pack in packs:
            total += pack.num_tokens + cost * pack.num_tokens * (prefix + pack.num_tokens) + overhead
        return _Option(total, [Group(tuple(packs), prefix, kept)])

    def _past(self, at: int) -> Past:
        return self.past[self.order[at]]

    def _cut(self, low: int, high: int, prefix: int, max_tokens: int) -> list[Pack]:
        """Packs after a prefix, each as long as it may be; a row longer than that is a pack of its own."""
        packs, first, size = [], low, 0
        for at in range(low, high):
            new = self.length[at] - (int(self.common[at]) if at > first else prefix)
            if at > first and size + new > max_tokens:
                packs.append(self._pack(first, at, prefix))
                first, size, new = at, 0, self.length[at] - prefix
            size += new
        return [*packs, self._pack(first, high, prefix)]

    def _pack(self, low: int, high: int, prefix: int) -> Pack:
        shared = (prefix, *self.common[low + 1 : high].tolist())
        num_tokens = sum(self.length[low:high]) - sum(shared)
        return Pack(tuple(self.order[low:high]), shared, num_tokens)


def in_order(input_ids: Sequence[Sequence[int]]) -> tuple[list[int], np.ndarray]:
    """Rows in lexicographic order of their tokens, and how many first tokens each has in common with the one before."""
    order = sorted(range(len(input_ids)), key=lambda row: list(input_ids[row]))
    arrays = [np.asarray(input_ids[row]) for row in order]
    return order, np.array([0] + [common_length(a, b) for a, b in pairwise(arrays)])


def branches(common: np.ndarray, low: int, high: int, shared: int) -> list[tuple[int, int]]:
    """The runs of rows `low` to `high` of that order that have more than `shared` tokens in common."""
    borders = [low, *(low + 1 + np.flatnonzero(common[low + 1 : high] == shared)).tolist(), high]
    return list(pairwise(borders))


def common_length(a: np.ndarray, b: np.ndarray) -> int:
    """How many first tokens two rows have in common."""
    short = min(len(a), len(b))
    differ = a[:short] != b[:short]
    return int(differ.argmax()) if differ.any() else short
