"""Token ids to the tensors of a batch: inputs alone, or encoded rows with all that is learned from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import torch

from dhrd.data.records import IGNORE, Batch, EncodedExample

LmTargets = Literal["all", "continuation", "input"]
Side = Literal["right", "left"]


def pad_inputs(sequences: Sequence[Sequence[int]], *, pad_token_id: int, padding_side: Side = "right") -> Batch:
    """Pad token ids to the longest of them: a batch of inputs alone, with nothing to learn.

    Args:
        sequences: The token ids of one or more inputs.
        pad_token_id: Token for padding.
        padding_side: Results do not depend on it.

    Returns:
        The batch, on the CPU; its rows have no ids.
    """
    width = max(map(len, sequences))
    shape = (len(sequences), width)
    input_ids_BT = torch.full(shape, pad_token_id, dtype=torch.long)
    attention_mask_BT = torch.zeros(shape, dtype=torch.bool)
    position_ids_BT = torch.zeros(shape, dtype=torch.long)
    starts = [width - len(sequence) if padding_side == "left" else 0 for sequence in sequences]
    for row, (sequence, start) in enumerate(zip(sequences, starts, strict=True)):
        tokens = slice(start, start + len(sequence))
        input_ids_BT[row, tokens] = torch.tensor(sequence, dtype=torch.long)
        attention_mask_BT[row, tokens] = True
        position_ids_BT[row, tokens] = torch.arange(len(sequence))
    pool_start_B = torch.tensor(starts, dtype=torch.long)
    return Batch(
        ids=("",) * len(sequences),
        input_ids_BT=input_ids_BT,
        attention_mask_BT=attention_mask_BT,
        position_ids_BT=position_ids_BT,
        pool_start_B=pool_start_B,
        pool_index_B=pool_start_B + torch.tensor([len(sequence) - 1 for sequence in sequences]),
    )


def collate(
    examples: Sequence[EncodedExample],
    *,
    pad_token_id: int,
    num_labels: int,
    num_tasks: int = 1,
    lm_targets: LmTargets = "all",
    padding_side: Side = "right",
) -> Batch:
    """Encoded rows as a batch to learn from.

    Args:
        examples: One or more rows; rows without continuation are inputs alone.
        pad_token_id: As for `pad_inputs`.
        num_labels: C.
        num_tasks: J.
        lm_targets: `all`: input + rationale + answer (paper); `continuation`: rationale + answer. Rows without a
            continuation have no targets either way. `input`: the input's own tokens, of all rows.
        padding_side: As for `pad_inputs`.

    Returns:
        The batch, on the CPU.
    """
    sequences = [example.input_ids + example.continuation_ids for example in examples]
    batch = pad_inputs(sequences, pad_token_id=pad_token_id, padding_side=padding_side)
    pool_index_B = batch.pool_start_B + torch.tensor([len(example.input_ids) - 1 for example in examples])
    return replace(
        batch,
        ids=tuple(example.id for example in examples),
        pool_index_B=pool_index_B,
        target_BT=_targets(examples, batch, lm_targets),
        label_BC=_hot(examples, num_labels),
        unlabelled_BJ=_unlabelled(examples, num_tasks),
        row_weight_B=torch.tensor([example.weight for example in examples]),
        reason_end_B=_reason_ends(examples, pool_index_B),
        keyword_2K=_keywords(examples),
    )


def as_ghost(batch: Batch) -> Batch:
    """The same rows with weight zero, as a placeholder on a process without rows of its own."""
    assert batch.target_BT is not None and batch.row_weight_B is not None
    assert batch.reason_end_B is not None and batch.keyword_2K is not None
    return replace(
        batch,
        target_BT=torch.full_like(batch.target_BT, IGNORE),
        row_weight_B=torch.zeros_like(batch.row_weight_B),
        reason_end_B=torch.full_like(batch.reason_end_B, -1),
        keyword_2K=batch.keyword_2K[:, :0],
    )


def _targets(examples: Sequence[EncodedExample], batch: Batch, lm_targets: LmTargets) -> torch.Tensor:
    target_BT = torch.full_like(batch.input_ids_BT, IGNORE)
    for row, (example, start) in enumerate(zip(examples, batch.pool_start_B.tolist(), strict=True)):
        first, last = _target_span(example, lm_targets)
        target_BT[row, start + first : start + last] = batch.input_ids_BT[row, start + first + 1 : start + last + 1]
    return target_BT


def _target_span(example: EncodedExample, lm_targets: LmTargets) -> tuple[int, int]:
    """From and up to which position of the sequence its next token is a target."""
    num_input, num_all = len(example.input_ids), len(example.input_ids) + len(example.continuation_ids)
    if lm_targets == "input":
        return 0, num_input - 1
    if not example.continuation_ids:
        return 0, 0
    return 0 if lm_targets == "all" else num_input - 1, num_all - 1


def _reason_ends(examples: Sequence[EncodedExample], pool_index_B: torch.Tensor) -> torch.Tensor:
    ends_B = torch.tensor([example.reason_end for example in examples])
    return torch.where(ends_B > 0, pool_index_B + ends_B, -1)


def _keywords(examples: Sequence[EncodedExample]) -> torch.Tensor:
    pairs = [(row, token) for row, example in enumerate(examples) for token in example.keyword_ids]
    return torch.tensor(pairs, dtype=torch.long).reshape(-1, 2).T.contiguous()


def _unlabelled(examples: Sequence[EncodedExample], num_tasks: int) -> torch.Tensor | None:
    if not any(example.unlabelled for example in examples):
        return None
    unlabelled_BJ = torch.zeros(len(examples), num_tasks, dtype=torch.bool)
    for row, example in enumerate(examples):
        unlabelled_BJ[row, list(example.unlabelled)] = True
    return unlabelled_BJ


def _hot(examples: Sequence[EncodedExample], num_labels: int) -> torch.Tensor:
    label_BC = torch.zeros(len(examples), num_labels)
    for row, example in enumerate(examples):
        if example.shares is not None:
            label_BC[row] = torch.tensor(example.shares)
        else:
            label_BC[row, list(example.label)] = 1.0
    return label_BC
