"""Batched decoding with a causal language model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def generate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    temperature: float = 0.0,
    top_p: float = 1.0,
    batch_size: int = 16,
    seed: int = 0,
) -> list[list[int]]:
    """Continue prompts until an end-of-sequence token: the tokenizer's, or one that the model itself names.

    Args:
        model: Any causal language model.
        tokenizer: Its tokenizer; pads on the left here, whatever its own side.
        prompts: Token ids.
        max_new_tokens: Stop after so many.
        temperature: 0: greedy. The paper: 0.1.
        top_p: Nucleus of sampling. The paper: 0.7.
        batch_size: Prompts decoded together, those of like length in one batch.
        seed: Of sampling.

    Returns:
        The new token ids of each prompt, in the prompts' order, without eos: as many as `max_new_tokens` where none
        came.
    """
    results: list[list[int]] = [[] for _ in prompts]
    order = sorted(range(len(prompts)), key=lambda i: -len(prompts[i]))
    sampling = {"do_sample": True, "temperature": temperature, "top_p": top_p} if temperature else {"do_sample": False}
    pad, eos = tokenizer.pad_token_id, _end_tokens(model, tokenizer)
    model.eval()
    torch.manual_seed(seed)
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        width = max(len(prompts[i]) for i in rows)
        ids = torch.tensor([[pad] * (width - len(prompts[i])) + list(prompts[i]) for i in rows], device=model.device)
        mask = torch.tensor(
            [[0] * (width - len(prompts[i])) + [1] * len(prompts[i]) for i in rows], device=model.device
        )
        with torch.inference_mode():
            output = model.generate(
                input_ids=ids,
                attention_mask=mask,
                max_new_tokens=max_new_tokens,
                pad_token_id=pad,
                eos_token_id=sorted(eos),
                use_cache=True,
                **sampling,
            )
        for i, new in zip(rows, output[:, width:].tolist(), strict=True):
            end = next((position for position, token in enumerate(new) if token in eos), len(new))
            results[i] = new[:end]
    return results


def _end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Chat models often end a turn with another token than a text, and name both."""
    named = model.generation_config.eos_token_id if model.generation_config is not None else None
    named = named if isinstance(named, list) else [named]
    return {token for token in (*named, tokenizer.eos_token_id) if token is not None}
