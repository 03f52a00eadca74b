"""The classification head: used in training and at inference."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

HeadKind = Literal["linear", "mlp"]

_INIT_STD = 0.02  # what most families initialise their own linear layers with


class ClassificationHead(nn.Module):
    """From a pooled hidden state to class logits.

    `linear`: score(dropout(h)), `score` without bias: what Hugging Face, vLLM and SGLang serve.
    `mlp`: score(dropout(gelu(dense(dropout(h))))), the paper's two layers.

    Created in fp32 from the seed alone, so that runs with the same seed start from the same head whatever the
    backbone drew from the global generator.

    Args:
        hidden_size: D.
        num_labels: C.
        kind: `linear` or `mlp`.
        dropout: Before each layer, in training.
        seed: Decides the first weights.

    Shape notation: (B, D) → (B, C).
    """

    def __init__(
        self, hidden_size: int, num_labels: int, *, kind: HeadKind = "linear", dropout: float = 0.1, seed: int = 0
    ) -> None:
        super().__init__()
        self.kind = kind
        self.dropout = nn.Dropout(dropout)
        self.dense = nn.Linear(hidden_size, hidden_size) if kind == "mlp" else None
        self.score = nn.Linear(hidden_size, num_labels, bias=False)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in self.parameters():
                if parameter.ndim == 2:
                    parameter.copy_(torch.randn(parameter.shape, generator=generator) * _INIT_STD)
                else:
                    parameter.zero_()

    def forward(self, pooled_BD: Float[Tensor, "B D"]) -> Float[Tensor, "B C"]:
        with torch.autocast(pooled_BD.device.type, enabled=False):  # B rows only: exactness costs nothing here
            hidden = self.dropout(pooled_BD.to(self.score.weight.dtype))
            if self.dense is not None:
                hidden = self.dropout(nn.functional.gelu(self.dense(hidden)))
            return self.score(hidden).float()
