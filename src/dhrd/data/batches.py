"""The rows of a run as updates: each a list of micro-batches, in the order of the plan."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from dhrd.data.collate import collate
from dhrd.data.plan import micro_batches, num_updates, plan_epoch
from dhrd.data.records import Batch, EncodedExample


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedUpdates:
    """Training rows, batched by the plan for one process.

    Args:
        examples: All rows, the same on every process.
        num_labels: C.
        pad_token_id: The tokenizer's.
        lm_targets: See `collate`.
        batch_size: Rows per process per micro-batch.
        gradient_accumulation_steps: Micro-batches per process per update.
        num_processes: Processes that train together.
        process_index: This one.
        seed: Decides the order.
    """

    examples: Sequence[EncodedExample]
    num_labels: int
    pad_token_id: int
    lm_targets: Literal["all", "continuation"] = "all"
    batch_size: int = 8
    gradient_accumulation_steps: int = 1
    num_processes: int = 1
    process_index: int = 0
    seed: int = 0

    @property
    def rows_per_update(self) -> int:
        """The effective batch size."""
        return self.batch_size * self.gradient_accumulation_steps * self.num_processes

    @property
    def updates_per_epoch(self) -> int:
        """Optimizer steps in one pass over the rows."""
        return num_updates(len(self.examples), self.rows_per_update)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[list[Batch]]:
        """This process's micro-batches of each update of an epoch, from the `start`-th on."""
        lengths = [len(example.input_ids) for example in self.examples]
        plan = plan_epoch(lengths, seed=self.seed, epoch=epoch, rows_per_update=self.rows_per_update)
        for update in plan[start:]:
            slices = micro_batches(
                update,
                batch_size=self.batch_size,
                num_processes=self.num_processes,
                process_index=self.process_index,
            )
            yield [self._collate(rows or update[:1], ghost=not rows) for rows in slices]

    def _collate(self, rows: Sequence[int], *, ghost: bool) -> Batch:
        return collate(
            [self.examples[row] for row in rows],
            pad_token_id=self.pad_token_id,
            num_labels=self.num_labels,
            lm_targets=self.lm_targets,
            ghost=ghost,
        )


def fingerprint(examples: Sequence[EncodedExample]) -> str:
    """A hash of all tokens and labels: whether a run goes on with the rows that it began with."""
    digest = hashlib.sha256()
    for example in examples:
        digest.update(repr((example.id, example.input_ids, example.continuation_ids, example.label)).encode())
    return digest.hexdigest()[:16]
