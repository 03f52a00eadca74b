"""The rows of a run as updates: each a list of micro-batches, in the order of the plan."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dhrd.data.collate import LmTargets, as_ghost, collate
from dhrd.data.plan import num_updates, plan_epoch, plan_epoch_by_prefix
from dhrd.data.records import Batch, EncodedExample
from dhrd.data.sharing import NOTHING_SHARED, MicroBatch, Sharing
from dhrd.data.tree import as_tree


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedUpdates:
    """Training rows, batched by the plan for one process.

    Args:
        examples: All rows, the same on every process.
        num_labels: C.
        num_tasks: J.
        pad_token_id: The tokenizer's padding token.
        lm_targets: See `collate`.
        batch_size: Rows per process per micro-batch.
        gradient_accumulation_steps: Micro-batches per process per update.
        num_processes: Processes that train together.
        process_index: Index of this process.
        seed: Seed of the order.
        sharing: What the micro-batches of an update share and how large they may be.
        group_by_prefix: Whether rows with a common prefix are put into one update.
    """

    examples: Sequence[EncodedExample]
    num_labels: int
    pad_token_id: int
    num_tasks: int = 1
    lm_targets: LmTargets = "all"
    batch_size: int = 8
    gradient_accumulation_steps: int = 1
    num_processes: int = 1
    process_index: int = 0
    seed: int = 0
    sharing: Sharing = NOTHING_SHARED
    group_by_prefix: bool = False

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
        for update in self._plan(epoch)[start:]:
            yield [self._collate(micro_batch, update) for micro_batch in self._micro_batches(update)]

    def _plan(self, epoch: int) -> list[tuple[int, ...]]:
        if self.group_by_prefix:
            inputs = [example.input_ids for example in self.examples]
            return plan_epoch_by_prefix(inputs, seed=self.seed, epoch=epoch, rows_per_update=self.rows_per_update)
        lengths = [len(example.input_ids) for example in self.examples]
        return plan_epoch(lengths, seed=self.seed, epoch=epoch, rows_per_update=self.rows_per_update)

    def _micro_batches(self, update: Sequence[int]) -> list[MicroBatch]:
        return self.sharing.micro_batches(
            {row: self.examples[row].input_ids + self.examples[row].continuation_ids for row in update},
            batch_size=self.batch_size,
            num_processes=self.num_processes,
            process_index=self.process_index,
        )

    def _collate(self, micro_batch: MicroBatch, update: Sequence[int]) -> Batch:
        rows = micro_batch.rows or update[:1]
        batch = collate(
            [self.examples[row] for row in rows],
            pad_token_id=self.pad_token_id,
            num_labels=self.num_labels,
            num_tasks=self.num_tasks,
            lm_targets=self.lm_targets,
        )
        if not micro_batch.rows:
            return as_ghost(batch)
        return as_tree(batch, micro_batch.packs, pad_token_id=self.pad_token_id) if micro_batch.packs else batch
