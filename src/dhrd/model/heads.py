"""The classification head: used in training and at inference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dhrd.errors import ModelError
from dhrd.model.backbone import logit_transform

HeadKind = Literal["linear", "mlp"]

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

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
        dropout: Dropout probability before each layer, in training.
        seed: Seed of the initial weights.

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
        """Class logits, in fp32."""
        with torch.autocast(pooled_BD.device.type, enabled=False):  # only B rows, so fp32 costs nothing here
            hidden = self.dropout(pooled_BD.to(self.score.weight.dtype))
            if self.dense is not None:
                hidden = self.dropout(nn.functional.gelu(self.dense(hidden)))
            return self.score(hidden).float()


def label_word_rows(
    causal_lm: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, words: Sequence[str]
) -> Float[Tensor, "C D"]:
    """Initial rows of a linear head: for each label the average of the LM head's rows for its word's tokens.

    Class logits are then the LM logits of the words, scaled as in the family; a soft cap, which a linear head cannot
    express, is left out.

    Args:
        causal_lm: The backbone.
        tokenizer: Its tokenizer; a word is tokenised as after the answer's marker, with a leading space.
        words: One word per label.

    Raises:
        ModelError: Two labels have equal rows, so the head could not tell them apart, or a word has no tokens.
    """
    weight_VD = causal_lm.get_output_embeddings().weight.detach().float()
    tokens = [tokenizer(f" {word}", add_special_tokens=False)["input_ids"] for word in words]
    for word, ids in zip(words, tokens, strict=True):
        same = [other for other, theirs in zip(words, tokens, strict=True) if sorted(theirs) == sorted(ids)]
        if not ids or len(same) > 1:
            what = f"{' and '.join(map(repr, same))} have the same tokens" if ids else f"{word!r} has no tokens"
            raise ModelError(f"model.head_init: label_words: {what}; rename a label, or use head_init: random")
    scale = logit_transform(causal_lm.config).scale
    return torch.stack([weight_VD[ids].mean(0) for ids in tokens]) * scale
