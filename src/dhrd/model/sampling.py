"""Sampling in which a row's tokens depend on the row and a seed alone."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import torch
from torch import Tensor
from transformers import TemperatureLogitsWarper, TopPLogitsWarper


class RowSampler:
    """Draws each row's next token with the row's own random numbers, one a token.

    So neither the batch size, nor the rows beside it, nor what was decoded before changes what a row gets (up to the
    rounding of its logits), and the global random state stays as it is. For transformers it is a logits processor that
    leaves each row one token, in a decoding that then takes the best.

    Args:
        prompts: Token ids of the rows; rows with equal prompts and seeds get equal tokens.
        seeds: Of each row.
        temperature: Logits are divided by it; above 0.
        top_p: Nucleus probability (Holtzman et al. 2020, arXiv 1904.09751); 1: all tokens.
    """

    def __init__(
        self, prompts: Sequence[Sequence[int]], seeds: Sequence[int], temperature: float, top_p: float
    ) -> None:
        rows = zip(prompts, seeds, strict=True)
        self._random = [Random(f"{seed} {list(prompt)}") for prompt, seed in rows]  # by the text's SHA-512
        nucleus = [TopPLogitsWarper(top_p)] if top_p < 1 else []
        self._warpers = [TemperatureLogitsWarper(float(temperature)), *nucleus]

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with some of the rows."""
        self._random = [self._random[row] for row in rows]

    def __call__(self, ids_BT: Tensor, scores_BV: Tensor) -> Tensor:
        """Scores in which each row's token has 0 and all others −inf."""
        for warp in self._warpers:
            scores_BV = warp(ids_BT, scores_BV)
        # Summed in double precision, which not every device has, so that a token of probability 0 is never drawn.
        sums_BV = scores_BV.cpu().double().softmax(-1).cumsum(-1)
        drawn_B1 = torch.tensor([[row.random()] for row in self._random], dtype=torch.float64)
        token_B1 = torch.searchsorted(sums_BV, drawn_B1 * sums_BV[:, -1:], right=True)
        return torch.full_like(scores_BV, -torch.inf).scatter(1, token_B1.to(scores_BV.device), 0)
