"""Updates whose batches carry the frozen blocks' output, computed once per row (`training.cache_frozen`)."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dhrd.data.batches import PlannedUpdates
from dhrd.data.records import Batch
from dhrd.model.dual_head import DualHeadModel
from dhrd.model.frozen import check_frozen, frozen_states

if TYPE_CHECKING:
    from accelerate import Accelerator

logger = logging.getLogger("dhrd")

_NUM_CHECKED = 4  # rows: on a CPU a whole batch takes half a minute of a core
_GPU_SHARE = 0.1
"""Of a GPU's free memory, what kept states may take there; copying them from main memory slows each update."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrozenUpdates:
    """The updates of a plan; a batch with a new row first runs through the frozen blocks.

    Args:
        updates: The plan.
        model: A model with `freeze_layers`.
        accelerator: Device and precision.
        kept: Maps a row's key to its hidden states, (tokens of the row, D), on `place`.
        place: The GPU where a tenth of its free memory holds all of them, otherwise main memory.
    """

    updates: PlannedUpdates
    model: DualHeadModel
    accelerator: Accelerator
    kept: dict[bytes, Tensor] = field(default_factory=dict)
    place: torch.device = field(init=False)

    def __post_init__(self) -> None:
        few = replace(self.updates, batch_size=min(_NUM_CHECKED, self.updates.batch_size))
        first = next(few.epoch(0))[0]
        check_frozen(self.model, first.to(self.model.causal_lm.device))
        num_tokens = sum(len(e.input_ids) + len(e.continuation_ids) for e in self.updates.examples)
        causal_lm = self.model.causal_lm
        num_bytes = num_tokens * causal_lm.config.get_text_config().hidden_size * causal_lm.dtype.itemsize
        place = place_of_states(self.accelerator.device, num_bytes)
        object.__setattr__(self, "place", place)
        told = "training.cache_frozen: %d tokens will take %.0f MB of %s"
        logger.info(told, num_tokens, num_bytes / 1e6, "memory" if place.type == "cpu" else f"memory on {place}")

    @property
    def updates_per_epoch(self) -> int:
        """Optimizer steps in one pass over the rows."""
        return self.updates.updates_per_epoch

    def epoch(self, epoch: int, start: int = 0) -> Iterator[list[Batch]]:
        """As `PlannedUpdates.epoch`, with `frozen_BTD`."""
        for batches in self.updates.epoch(epoch, start):
            yield [self._attached(batch) for batch in batches]

    def _attached(self, batch: Batch) -> Batch:
        keys = _keys(batch)
        if any(key not in self.kept for key in keys):
            with self.accelerator.autocast():
                hidden_BTD = frozen_states(self.model, batch.to(self.accelerator.device)).to(self.place)
            self.kept.update(
                (key, hidden_TD[mask_T])
                for key, hidden_TD, mask_T in zip(keys, hidden_BTD, batch.attention_mask_BT, strict=True)
            )
        states = torch.cat([self.kept[key] for key in keys])
        frozen_BTD = states.new_zeros(*batch.input_ids_BT.shape, states.shape[-1])
        frozen_BTD[batch.attention_mask_BT.nonzero(as_tuple=True)] = states  # a mask on a GPU would be waited for
        return replace(batch, frozen_BTD=frozen_BTD)


def place_of_states(device: torch.device, num_bytes: int) -> torch.device:
    """Where states of so many bytes are kept: on the GPU if a tenth of its free memory holds them."""
    fits = device.type == "cuda" and num_bytes <= _GPU_SHARE * torch.cuda.mem_get_info(device)[0]
    return device if fits else torch.device("cpu")


def _keys(batch: Batch) -> list[bytes]:
    """The tokens of each row: all that its states depend on."""
    rows = zip(batch.input_ids_BT, batch.attention_mask_BT, strict=True)
    return [ids_T[mask_T].numpy().tobytes() for ids_T, mask_T in rows]
