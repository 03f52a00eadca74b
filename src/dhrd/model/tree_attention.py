"""Attention over rows that are laid out as trees, block by block: keys that no query of a block sees are left out.

A dense mask costs the square of the sequence, forward and backward, though each token sees only its own row. In tree
order, rows are next to those that they share most with, so a block of queries needs few keys, and the sum over blocks
costs about as much as the separate rows.

Shape legend beyond `data/records.py`: H heads, Q queries of a block, K keys, E head size.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from dhrd.model.attention import HELD, attend_held

_NAME = "dhrd_blocks"  # this attention's name in transformers
_BLOCK_QUERIES = 128


@dataclass(frozen=True, slots=True)
class Block:
    """Some queries of one sequence, and the keys that they see.

    Args:
        sequence: Index of the sequence among S.
        queries: Range of the query tokens.
        spans: The keys, as runs of tokens.
        mask_11QK: Mask added to the scores.
    """

    sequence: int
    queries: slice
    spans: tuple[slice, ...]
    mask_11QK: Tensor


_BLOCKS: ContextVar[Mapping[int, tuple[Block, ...]]] = ContextVar("blocks of masks, by their memory")


def blocks_of(mask_S1WK: Tensor) -> tuple[Block, ...]:
    """A mask's blocks.

    Args:
        mask_S1WK: A mask from `layer_masks`.
    """
    blocks: list[Block] = []
    seen_SWK = mask_S1WK[:, 0] == 0
    for sequence in range(len(mask_S1WK)):
        for first in range(0, mask_S1WK.shape[2], _BLOCK_QUERIES):
            queries = slice(first, first + _BLOCK_QUERIES)
            spans = _spans(seen_SWK[sequence, queries].any(0))
            mask_11QK = torch.cat([mask_S1WK[sequence : sequence + 1, :, queries, span] for span in spans], 3)
            blocks.append(Block(sequence, queries, spans, mask_11QK))
    return tuple(blocks)


def in_blocks(body: Any) -> bool:
    """Whether a backbone in training attends block by block: on a CPU, where a dense mask dominates a pass.

    Layers recomputed in the backward pass would run outside of `blockwise`.
    """
    recomputes = any(getattr(module, "gradient_checkpointing", False) for module in body.modules())
    takes_others = body._supports_attention_backend and body.config._attn_implementation in ("sdpa", HELD)
    return body.device.type == "cpu" and takes_others and not recomputes


@contextmanager
def blockwise(config: Any, masks: Any) -> Iterator[None]:
    """A context in which a backbone attends block by block.

    Args:
        config: The backbone's config.
        masks: Its `attention_mask`: a mask, or one for each kind of layer.
    """
    before = config._attn_implementation
    own = masks.values() if isinstance(masks, dict) else [masks]
    token = _BLOCKS.set({mask.data_ptr(): blocks_of(mask) for mask in own})
    _register()
    config._attn_implementation = _NAME
    try:
        yield
    finally:
        config._attn_implementation = before
        _BLOCKS.reset(token)


@cache
def _register() -> None:
    from transformers import AttentionInterface

    AttentionInterface.register(_NAME, torch.compiler.disable(_attention))  # every mask has its own blocks


def _attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor, **options: Any
) -> tuple[Tensor, None]:
    """The function that transformers calls: (S, H, W, E), keys and values with at most H heads, to (S, W, H, E)."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if options.get("dropout"):  # the same dropout could not be repeated in the backward pass
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    scale = options.get("scaling") or query.shape[-1] ** -0.5
    if torch.is_autocast_enabled(query.device.type):  # as torch's own attention does
        dtype = torch.get_autocast_dtype(query.device.type)
        query, key, value = query.to(dtype), key.to(dtype), value.to(dtype)
    blocks = _BLOCKS.get().get(attention_mask.data_ptr())
    if blocks is None:
        raise LookupError("its layers attend with masks of their own")
    return _Blockwise.apply(blocks, scale, query, key, value).transpose(1, 2), None


class _Blockwise(torch.autograd.Function):
    """Attention of each block, with the keys' gradients accumulated in place.

    Scores are recomputed in the backward pass, so that nothing of a mask's size is kept in between. With autograd,
    each block's slice of the keys would have a gradient of the size of all keys.
    """

    @staticmethod
    def forward(ctx: Any, blocks: tuple[Block, ...], scale: float, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        ctx.blocks, ctx.scale = blocks, scale
        ctx.save_for_backward(query, key, value)
        output = query.new_empty(*query.shape[:3], value.shape[3])
        for block in blocks:
            output[block.sequence, :, block.queries] = _attend(block, scale, *_given(block, query, key, value))
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value = ctx.saved_tensors
        of_query, of_key, of_value = torch.empty_like(query), torch.zeros_like(key), torch.zeros_like(value)
        for block in ctx.blocks:
            given = [x.detach().requires_grad_() for x in _given(block, query, key, value)]
            with torch.enable_grad():
                found = _attend(block, ctx.scale, *given)
            own, *of_keys = torch.autograd.grad(found, given, grad_output[block.sequence, :, block.queries])
            of_query[block.sequence, :, block.queries] = own
            for grad, part in zip((of_key, of_value), of_keys, strict=True):
                _add_spans(grad[block.sequence], part, block.spans)
        return None, None, of_query, of_key, of_value


def _given(block: Block, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    keys, values = (torch.cat([x[block.sequence, :, span] for span in block.spans], 1) for x in (key, value))
    return query[block.sequence, :, block.queries], keys, values


def _attend(block: Block, scale: float, query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Attention of a block's (H, Q, E), holding all its scores; heads that share keys are in one product."""
    grouped = query.reshape(1, len(keys), -1, query.shape[2])
    return attend_held(grouped, keys[None], values[None], block.mask_11QK[:, :, None], scale).view(*query.shape[:2], -1)


def _add_spans(grad: Tensor, of_keys: Tensor, spans: tuple[slice, ...]) -> None:
    first = 0
    for span in spans:
        part = grad[:, span]
        part += of_keys[:, first : first + part.shape[1]]
        first += part.shape[1]


def _spans(seen_K: Tensor) -> tuple[slice, ...]:
    """Runs of true entries."""
    padded = torch.cat([seen_K.new_zeros(1), seen_K, seen_K.new_zeros(1)]).int()
    edges = padded.diff().nonzero()[:, 0].tolist()
    return tuple(slice(first, last) for first, last in zip(edges[::2], edges[1::2], strict=True))
