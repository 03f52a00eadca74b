"""Encoded rows to the tensors of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch

from dhrd.data.records import IGNORE, Batch, EncodedExample

LmTargets = Literal["all", "continuation", "input"]


def collate(
    examples: Sequence[EncodedExample],
    *,
    pad_token_id: int,
    num_labels: int | None = None,
    lm_targets: LmTargets = "all",
    padding_side: Literal["right", "left"] = "right",
    ghost: bool = False,
    visible_input_tokens: Sequence[int | None] | None = None,
) -> Batch:
    """Pad rows to the longest of them.

    Args:
        examples: One or more rows; rows without continuation are inputs alone.
        pad_token_id: Fills up; never seen by any head.
        num_labels: C; None at inference, where there are no labels.
        lm_targets: `all`: input + rationale + answer (paper); `continuation`: rationale + answer. Rows without a
            continuation have no targets either way. `input`: the input's own tokens, of all rows.
        padding_side: Results do not depend on it.
        ghost: The rows count for nothing: they stand in on a process that has no rows of its own.
        visible_input_tokens: For each row, how many of the input's last tokens its continuation sees; None: all.

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
        if not ghost:
            first, last = _target_span(example, lm_targets)
            target[row, start + first : start + last] = tokens[first + 1 : last + 1]
    pool_start = torch.tensor(starts, dtype=torch.long)
    pool_index = pool_start + torch.tensor([len(example.input_ids) - 1 for example in examples])
    learns = num_labels is not None
    return Batch(
        ids=tuple(example.id for example in examples),
        input_ids_BT=input_ids,
        attention_mask_BT=attention_mask,
        position_ids_BT=position_ids,
        pool_start_B=pool_start,
        pool_index_B=pool_index,
        target_BT=target if learns else None,
        label_BC=_one_hot(examples, num_labels) if num_labels is not None else None,
        row_weight_B=torch.full((len(examples),), 0.0 if ghost else 1.0) if learns else None,
        visible_from_B=_visible_from(pool_start, pool_index, visible_input_tokens),
        reason_end_B=_reason_ends(examples, pool_index, ghost=ghost) if learns else None,
        keyword_2K=_keywords([] if ghost else examples) if learns else None,
    )


def _target_span(example: EncodedExample, lm_targets: LmTargets) -> tuple[int, int]:
    """From and up to which position of the sequence its next token is a target."""
    num_input, num_all = len(example.input_ids), len(example.input_ids) + len(example.continuation_ids)
    if lm_targets == "input":
        return 0, num_input - 1
    if not example.continuation_ids:
        return 0, 0
    return 0 if lm_targets == "all" else num_input - 1, num_all - 1


def _visible_from(
    pool_start: torch.Tensor, pool_index: torch.Tensor, visible: Sequence[int | None] | None
) -> torch.Tensor | None:
    if visible is None or all(count is None for count in visible):
        return None
    last = [pool_start[row] if count is None else pool_index[row] + 1 - count for row, count in enumerate(visible)]
    return torch.maximum(pool_start, torch.stack(last))


def _reason_ends(examples: Sequence[EncodedExample], pool_index: torch.Tensor, *, ghost: bool) -> torch.Tensor:
    ends = torch.tensor([0 if ghost else example.reason_end for example in examples])
    return torch.where(ends > 0, pool_index + ends, -1)


def _keywords(examples: Sequence[EncodedExample]) -> torch.Tensor:
    pairs = [(row, token) for row, example in enumerate(examples) for token in example.keyword_ids]
    return torch.tensor(pairs, dtype=torch.long).reshape(-1, 2).T.contiguous()


def _one_hot(examples: Sequence[EncodedExample], num_labels: int) -> torch.Tensor:
    label_BC = torch.zeros(len(examples), num_labels)
    for row, example in enumerate(examples):
        label_BC[row, list(example.label)] = 1.0
    return label_BC
