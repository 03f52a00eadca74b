"""Batched decoding with a causal language model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from dhrd.data.collate import pad_inputs
from dhrd.model.sampling import RowSampler

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


Stop = Callable[[list[int]], bool]
"""Given a row's new tokens after each of them: whether the row ends with the last one."""

_STEPS_BETWEEN_LEAVING = 16  # few enough that ended rows cost little, many enough that starting a call does


def generate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    temperature: float = 0.0,
    top_p: float = 1.0,
    batch_size: int = 16,
    seed: int | Sequence[int] = 0,
    stop: Stop | None = None,
) -> list[list[int]]:
    """Continue prompts until an end-of-sequence token: the tokenizer's, or one that the model names.

    Args:
        model: Any causal language model.
        tokenizer: Its tokenizer; padding here is on the left, whatever its own setting.
        prompts: Token ids.
        max_new_tokens: Maximum number of new tokens.
        temperature: Sampling temperature; 0: greedy. The paper: 0.1.
        top_p: Nucleus probability. The paper: 0.7.
        batch_size: Prompts decoded together, grouped by length; rows that have ended leave the batch.
        seed: Seed of sampling, or one for each prompt. A prompt's tokens and its seed decide what is drawn for it,
            whatever is decoded beside it; the global random state is left as it is.
        stop: A further condition that ends a row; the last token is kept.

    Returns:
        The new token ids of each prompt, in the prompts' order, without eos; `max_new_tokens` of them if none
        was generated.
    """
    results: list[list[int]] = [[] for _ in prompts]
    order = sorted(range(len(prompts)), key=lambda i: -len(prompts[i]))
    seeds = [seed] * len(prompts) if isinstance(seed, int) else seed
    ends = _Ends(tokenizer.pad_token_id, _end_tokens(model, tokenizer), stop)
    options = {"do_sample": False, "pad_token_id": ends.pad, "eos_token_id": sorted(ends.eos), "use_cache": True}
    model.eval()
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        some = [list(prompts[i]) for i in rows]
        with torch.inference_mode():
            sampler = RowSampler(some, [seeds[i] for i in rows], temperature, top_p) if temperature else None
            batch = _Batch(some, ends, model.device, sampler)
            while batch.rows and (left := max_new_tokens - batch.num_steps) > 0:
                batch.advance(model, min(left, _steps_at_once(model, left)), options)
        for i, new in zip(rows, batch.new, strict=True):
            results[i] = new
    return results


def _steps_at_once(model: PreTrainedModel, left: int) -> int:
    """All remaining steps if the model chooses its own cache, which cannot be passed back or lose rows."""
    named = getattr(model.generation_config, "cache_implementation", None)
    return _STEPS_BETWEEN_LEAVING if named in (None, "hybrid", "dynamic") else left


@dataclass(frozen=True, slots=True)
class _Ends:
    """What comes before and after a row's tokens.

    Args:
        pad: The padding token, used on the left.
        eos: Tokens that end a row.
        stop: A further condition that ends a row.
    """

    pad: int
    eos: set[int]
    stop: Stop | None


class _Batch:
    """Rows that are decoded together, some steps at a time."""

    def __init__(self, prompts: list[list[int]], ends: _Ends, device: torch.device, sampler: RowSampler | None) -> None:
        self.new: list[list[int]] = [[] for _ in prompts]
        self.rows = list(range(len(prompts)))
        self.num_steps = 0
        self._eos, self._stop, self._sampler = ends.eos, ends.stop, sampler
        padded = pad_inputs(prompts, pad_token_id=ends.pad, padding_side="left").to(device)
        self._ids_BT, self._mask_BT = padded.input_ids_BT, padded.attention_mask_BT.long()
        self._width = self._ids_BT.shape[1]
        self._cache: Any = None

    def advance(self, model: PreTrainedModel, num_steps: int, options: dict[str, Any]) -> None:
        """Decode some steps, then drop the rows that have ended."""
        before = self._ids_BT.shape[1]
        output = model.generate(
            input_ids=self._ids_BT,
            attention_mask=self._mask_BT,
            max_new_tokens=num_steps,
            return_dict_in_generate=True,
            **({"past_key_values": self._cache} if self._cache is not None else {}),
            **({"stopping_criteria": [self._ended]} if self._stop is not None else {}),
            **({"logits_processor": [self._sampler]} if self._sampler is not None else {}),
            **options,
        )
        self.num_steps += num_steps
        self._ids_BT, self._cache = output.sequences, output.past_key_values
        decoded = zip(self.rows, self._ids_BT[:, before:].tolist(), strict=True)
        goes_on = [self._extend(row, tokens) for row, tokens in decoded]
        kept = torch.tensor([i for i, on in enumerate(goes_on) if on], device=self._ids_BT.device)
        self._mask_BT = nn.functional.pad(self._mask_BT, (0, self._ids_BT.shape[1] - before), value=1)
        if 0 < len(kept) < len(self.rows):
            self._ids_BT, self._mask_BT = self._ids_BT[kept], self._mask_BT[kept]
            if self._sampler is not None:
                self._sampler.keep(kept.tolist())
            if self._cache is not None:
                self._cache.batch_select_indices(kept)
        self.rows = [row for row, on in zip(self.rows, goes_on, strict=True) if on]

    def _ended(self, ids_BT: Tensor, scores: Any, **_: Any) -> Tensor:
        """A stopping criterion for transformers."""
        assert self._stop is not None
        ended = [self._stop(new) for new in ids_BT[:, self._width :].tolist()]
        return torch.tensor(ended, device=ids_BT.device)

    def _extend(self, row: int, tokens: list[int]) -> bool:
        """Add a row's tokens up to its end; False: the row has ended."""
        new = self.new[row]
        for token in tokens:
            if token in self._eos:
                return False
            new.append(token)
            if self._stop is not None and self._stop(new):
                return False
        return True


def _end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """The end tokens: chat models often end a turn and a text with different tokens, and name both."""
    named = model.generation_config.eos_token_id if model.generation_config is not None else None
    named = named if isinstance(named, list) else [named]
    return {token for token in (*named, tokenizer.eos_token_id) if token is not None}
