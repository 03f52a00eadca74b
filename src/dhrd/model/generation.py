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
    """Continue prompts until the end-of-sequence token.

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
        The new token ids of each prompt, in the prompts' order, without eos.
    """
    results: list[list[int]] = [[] for _ in prompts]
    order = sorted(range(len(prompts)), key=lambda i: -len(prompts[i]))
    sampling = {"do_sample": True, "temperature": temperature, "top_p": top_p} if temperature else {"do_sample": False}
    pad, eos = tokenizer.pad_token_id, tokenizer.eos_token_id
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
                eos_token_id=eos,
                use_cache=True,
                **sampling,
            )
        for i, new in zip(rows, output[:, width:].tolist(), strict=True):
            results[i] = new[: new.index(eos)] if eos in new else new
    return results
