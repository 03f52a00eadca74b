"""Encoded rows to the tensors of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch

from dhrd.data.records import IGNORE, Batch, EncodedExample


def collate(
    examples: Sequence[EncodedExample],
    *,
    pad_token_id: int,
    num_labels: int | None = None,
    lm_targets: Literal["all", "continuation"] = "all",
    padding_side: Literal["right", "left"] = "right",
    ghost: bool = False,
) -> Batch:
    """Pad rows to the longest of them.

    Args:
        examples: One or more rows; rows without continuation are inputs alone.
        pad_token_id: Fills up; never seen by any head.
        num_labels: C; None at inference, where there are no labels.
        lm_targets: `all`: input + rationale + answer (paper); `continuation`: rationale + answer. Rows without a
            continuation have no targets either way.
        padding_side: Results do not depend on it.
        ghost: The rows count for nothing: they stand in on a process that has no rows of its own.

    Returns:
        The batch, on the CPU.
    """
    sequences = [example.input_ids + example.continuation_ids for example in examples]
    width = max(map(len, sequences))
    shape = (len(examples), width)
    input_ids = torch.full(shape, pad_token_id, dtype=torch.long)
    attention_mask = torch.zeros(shape, dtype=torch.bool)
    position_ids = torch.zeros(shape, dtype=torch.long)
    target = torch.full(shape, IGNORE, dtype=torch.long)
    starts = [width - len(sequence) if padding_side == "left" else 0 for sequence in sequences]
    for row, (example, sequence, start) in enumerate(zip(examples, sequences, starts, strict=True)):
        end = start + len(sequence)
        tokens = torch.tensor(sequence, dtype=torch.long)
        input_ids[row, start:end] = tokens
        attention_mask[row, start:end] = True
        position_ids[row, start:end] = torch.arange(len(sequence))
        if example.continuation_ids and not ghost:
            first = 0 if lm_targets == "all" else len(example.input_ids) - 1
            target[row, start + first : end - 1] = tokens[first + 1 :]
    pool_start = torch.tensor(starts, dtype=torch.long)
    return Batch(
        ids=tuple(example.id for example in examples),
        input_ids_BT=input_ids,
        attention_mask_BT=attention_mask,
        position_ids_BT=position_ids,
        pool_start_B=pool_start,
        pool_index_B=pool_start + torch.tensor([len(example.input_ids) - 1 for example in examples]),
        target_BT=target if num_labels is not None else None,
        label_BC=_one_hot(examples, num_labels) if num_labels is not None else None,
        row_weight_B=torch.full((len(examples),), 0.0 if ghost else 1.0) if num_labels is not None else None,
    )


def _one_hot(examples: Sequence[EncodedExample], num_labels: int) -> torch.Tensor:
    label_BC = torch.zeros(len(examples), num_labels)
    for row, example in enumerate(examples):
        label_BC[row, list(example.label)] = 1.0
    return label_BC
