"""Attention over rows that are laid out as trees, block by block: keys that no query of a block sees are left out.

A dense mask costs the square of the sequence, forward and backward, though each token sees its own row alone. In a
tree's order rows lie next to those that they share most with; so few keys serve a block of queries, and the sum over
blocks is about what the rows cost by themselves.

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

_NAME = "dhrd_blocks"  # as transformers knows this attention
_BLOCK_QUERIES = 128


@dataclass(frozen=True, slots=True)
class Block:
    """Some queries of one sequence, and all that they see.

    Args:
        sequence: Its number, of S.
        queries: From and up to which token.
        spans: The keys, as runs of tokens.
        mask_11QK: What is added to the scores.
    """

    sequence: int
    queries: slice
    spans: tuple[slice, ...]
    mask_11QK: Tensor


_BLOCKS: ContextVar[Mapping[int, tuple[Block, ...]]] = ContextVar("blocks of masks, by their memory")


def blocks_of(mask_S1WK: Tensor) -> tuple[Block, ...]:
    """A mask's blocks.

    Args:
        mask_S1WK: Of `layer_masks`.
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
    """Whether a backbone that is trained attends block by block: on a CPU, where a dense mask is most of a pass.

    Layers that are run again in the backward pass would be so outside of `blockwise`.
    """
    recomputes = any(getattr(module, "gradient_checkpointing", False) for module in body.modules())
    takes_others = body._supports_attention_backend and body.config._attn_implementation in ("sdpa", HELD)
    return body.device.type == "cpu" and takes_others and not recomputes


@contextmanager
def blockwise(config: Any, masks: Any) -> Iterator[None]:
    """Within it a backbone attends block by block.

    Args:
        config: The backbone's.
        masks: What it is given as `attention_mask`: a mask, or one for each kind of layer.
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

    AttentionInterface.register(_NAME, torch.compiler.disable(_attention))  # every mask has blocks of its own


def _attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor, **options: Any
) -> tuple[Tensor, None]:
    """What transformers calls: (S, H, W, E) each, keys and values with fewer heads or as many, to (S, W, H, E)."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if options.get("dropout"):  # what is dropped could not be dropped again in the backward pass
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    scale = options.get("scaling") or query.shape[-1] ** -0.5
    if torch.is_autocast_enabled(query.device.type):  # as torch's own attention does
        dtype = torch.get_autocast_dtype(query.device.type)
        query, key, value = query.to(dtype), key.to(dtype), value.to(dtype)
    blocks = _BLOCKS.get()[attention_mask.data_ptr()]
    return _Blockwise.apply(blocks, scale, query, key, value).transpose(1, 2), None


class _Blockwise(torch.autograd.Function):
    """Attention of each block, and gradients of the keys added up where they lie.

    Scores are computed again in the backward pass, so that nothing of the size of a mask is kept between. Left to
    autograd, each block's slice of the keys would be a gradient of the size of all of them.
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
    """Of a block's (H, Q, E), all its scores held at once; the heads that share keys in one product."""
    grouped = query.reshape(1, len(keys), -1, query.shape[2])
    return attend_held(grouped, keys[None], values[None], block.mask_11QK[:, :, None], scale).view(*query.shape[:2], -1)


def _add_spans(grad: Tensor, of_keys: Tensor, spans: tuple[slice, ...]) -> None:
    first = 0
    for span in spans:
        part = grad[:, span]
        part += of_keys[:, first : first + part.shape[1]]
        first += part.shape[1]


def _spans(seen_K: Tensor) -> tuple[slice, ...]:
    """Runs of true places."""
    padded = torch.cat([seen_K.new_zeros(1), seen_K, seen_K.new_zeros(1)]).int()
    edges = padded.diff().nonzero()[:, 0].tolist()
    return tuple(slice(first, last) for first, last in zip(edges[::2], edges[1::2], strict=True))
