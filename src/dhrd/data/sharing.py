"""The rows of an update as micro-batches in which shared text is run once, bounded by their tokens.

The plan determines which rows an update holds; only their arrangement in micro-batches is decided here, from the rows'
tokens alone, and identically on every process.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count, islice

from dhrd.data.buckets import buckets
from dhrd.data.plan import micro_batches
from dhrd.data.prefixes import Pack, SharingCost, apart, plan_sharing

_LONGEST_PACK = 4096  # its mask has the square of it, for each kind of layer
_OVERHEAD_TOKENS = 128  # what a further micro-batch costs, in tokens: gradients are added to every weight


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """Rows that are run together.

    Args:
        rows: The rows, as named by the update; empty: another process has the last rows.
        packs: Their layout, by index into `rows`; empty: each by itself.
    """

    rows: tuple[int, ...] = ()
    packs: tuple[Pack, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharing:
    """How an update's rows are gathered into micro-batches.

    Args:
        pair: What one (query, key) pair costs, in tokens (`model/flops.py`); None: no text is shared.
        dense: Whether in a pack every query meets every key.
        pack_rows: Also lay rows out in one sequence that have nothing in common, instead of padding them.
        launch: On a GPU, the tokens that are run while the kernels of a micro-batch are launched; 0: on a CPU.
        max_tokens: Maximum tokens of a micro-batch, after sharing, including padding; a longer row is one of its own.
            None: as many as in the micro-batches by rows, which are kept if nothing is shared or it does not pay.
    """

    pair: float | None = None
    dense: bool = True
    pack_rows: bool = False
    launch: int = 0
    max_tokens: int | None = None

    def micro_batches(
        self, sequences: dict[int, Sequence[int]], *, batch_size: int, num_processes: int, process_index: int
    ) -> list[MicroBatch]:
        """One process's micro-batches of an update; every process gets the same number.

        Args:
            sequences: For each row of the update, in its order, the tokens that may be shared (`shared_tokens`).
            batch_size: Rows of a micro-batch if tokens do not decide.
            num_processes: Processes that train together.
            process_index: Index of this process.
        """
        update, places = tuple(sequences), (num_processes, process_index)
        if self == NOTHING_SHARED:
            return _by_rows(update, batch_size, *places)
        slices = [update[i : i + batch_size] for i in range(0, len(update), batch_size)]
        most = self.max_tokens or max(_run_tokens(rows, sequences) for rows in slices)
        share = -(-len(update) // num_processes)
        order = sorted(update, key=lambda row: list(sequences[row]))  # what begins alike goes to one process
        parts = [order[i : i + share] for i in range(0, len(order), share)]
        found = [self._gathered({row: sequences[row] for row in part}, most) for part in parts]
        if self.max_tokens is None and not self._pays(found, slices, sequences):
            return _by_rows(update, batch_size, *places)
        own = found[process_index] if process_index < len(found) else []
        return own + [MicroBatch()] * (max(map(len, found)) - len(own))

    def _pays(
        self, found: list[list[MicroBatch]], slices: Sequence[Sequence[int]], sequences: dict[int, Sequence[int]]
    ) -> bool:
        """Whether text is shared, and a GPU takes no longer: it runs one micro-batch while the next is launched."""
        gathered = [batch for part in found for batch in part]
        if not any(batch.packs for batch in gathered):
            return False
        shared = sum(_run_tokens(batch.rows, sequences, batch.packs) for batch in gathered)
        by_rows = sum(_run_tokens(rows, sequences) for rows in slices)
        return not self.launch or max(shared, self.launch * len(gathered)) < max(by_rows, self.launch * len(slices))

    def _gathered(self, sequences: dict[int, Sequence[int]], most: int) -> list[MicroBatch]:
        rows, packs = list(sequences), self._packs(list(sequences.values()), most)
        found: list[MicroBatch] = []
        for laid_out in (False, True):  # rows by themselves need no mask
            chosen = [pack for pack in packs if (len(pack.rows) > 1) == laid_out]
            for bucket in buckets([pack.num_tokens for pack in chosen], most, max(_OVERHEAD_TOKENS, self.launch)):
                found.append(_renumbered([chosen[index] for index in bucket], rows, laid_out=laid_out))
        return found

    def _packs(self, sequences: Sequence[Sequence[int]], most: int) -> list[Pack]:
        if self.pair is None:
            groups = apart([len(ids) for ids in sequences])
        else:
            longest = min(most, _LONGEST_PACK)
            groups = plan_sharing(
                sequences, SharingCost(pair=self.pair, max_pack_tokens=longest, keep_prefixes=False, dense=self.dense)
            )
        packs = [pack for group in groups for pack in group.packs]
        return _side_by_side(packs, min(most, _LONGEST_PACK)) if self.pack_rows else packs


NOTHING_SHARED = Sharing()
"""Micro-batches by rows, each row by itself."""


def _by_rows(update: Sequence[int], batch_size: int, num_processes: int, process_index: int) -> list[MicroBatch]:
    slices = micro_batches(update, batch_size=batch_size, num_processes=num_processes, process_index=process_index)
    return [MicroBatch(rows) for rows in slices]


def _run_tokens(rows: Sequence[int], sequences: dict[int, Sequence[int]], packs: Sequence[Pack] = ()) -> int:
    """Tokens of rows, or of their packs, padding included."""
    lengths = [pack.num_tokens for pack in packs] or [len(sequences[row]) for row in rows]
    return len(lengths) * max(lengths)


def _renumbered(packs: Sequence[Pack], rows: Sequence[int], *, laid_out: bool) -> MicroBatch:
    """Packs of rows of an update as those of a micro-batch, which has its rows in their order."""
    own = tuple(rows[row] for pack in packs for row in pack.rows)
    if not laid_out:
        return MicroBatch(own)
    numbers = count()
    return MicroBatch(own, tuple(replace(pack, rows=tuple(islice(numbers, len(pack.rows)))) for pack in packs))


def _side_by_side(packs: Sequence[Pack], most: int) -> list[Pack]:
    """The same packs, as many one after the other as there is room for: the longest first, into the first that fits."""
    joined: list[Pack] = []
    for pack in sorted(packs, key=lambda pack: -pack.num_tokens):
        fits = next((i for i, one in enumerate(joined) if one.num_tokens + pack.num_tokens <= most), None)
        if fits is None:
            joined.append(pack)
        else:
            one = joined[fits]
            joined[fits] = Pack(one.rows + pack.rows, one.shared + pack.shared, one.num_tokens + pack.num_tokens)
    return joined
