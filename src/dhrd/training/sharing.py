"""How the rows of an update are gathered into micro-batches, and whether the model may share their text."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import nn

from dhrd._device import random_state_kept
from dhrd.config import TrainingSettings
from dhrd.data.sharing import Sharing
from dhrd.errors import ConfigError
from dhrd.model.dual_head import DualHeadModel
from dhrd.model.exactness import why_not_exact
from dhrd.model.flops import forward_cost
from dhrd.model.frozen import mode
from dhrd.model.tree_attention import in_blocks

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_LAUNCHED = 16_000 * 576**2  # tokens × width²

logger = logging.getLogger("dhrd")


def choose_sharing(settings: TrainingSettings, model: DualHeadModel) -> Sharing:
    """What the settings ask for, as far as the model allows it; what it does not allow is logged.

    Args:
        settings: `share_prefixes`, `share_dropout`, `pack_rows`, `max_tokens_per_micro_batch`.
        model: The model whose hidden states must stay the same.

    Raises:
        ConfigError: Sharing is requested explicitly, but the hidden states would change.
    """
    shares, packs = settings.share_prefixes is not False, settings.pack_rows
    body, apart = model.causal_lm.base_model, Sharing(max_tokens=settings.max_tokens_per_micro_batch)
    if (shares or packs) and (reason := _why_not_exact(model)):
        _refuse("pack_rows" if packs else "share_prefixes", reason, settings)
        return apart
    if shares and not settings.share_dropout and (where := dropout_of(model)):
        reason = f"the backbone has dropout ({where}), and rows that share text would share its mask"
        _refuse("share_prefixes", f"{reason}; set it to 0, or training.share_dropout to true", settings)
        shares = False
    if not shares and not packs:
        return apart
    pair = forward_cost(body).tokens_per_pair if shares else None
    dense = settings.gradient_checkpointing or not in_blocks(body)
    return replace(apart, pair=pair, dense=dense, pack_rows=packs, launch=_launch(body))


def _launch(body: PreTrainedModel) -> int:
    """Tokens that a GPU runs while it is told what to do in a micro-batch.

    A layer's kernels take the same time to launch whatever its width, and a token's arithmetic grows with the width's
    square. SmolLM2-135M, 576 wide, in bf16 on an H200: 73 ms of launches a micro-batch, 0.0045 ms a token.
    """
    return 0 if body.device.type == "cpu" else int(_LAUNCHED / body.config.get_text_config().hidden_size ** 2)


def _why_not_exact(model: DualHeadModel) -> str:
    with mode(model.causal_lm, training=False):
        return why_not_exact(model.causal_lm.base_model)


def _refuse(name: str, reason: str, settings: TrainingSettings) -> None:
    """Raise if the setting explicitly asks for what is impossible; log a line if it left the choice to us."""
    if getattr(settings, name) is True:
        raise ConfigError(f"training.{name}: {reason}")
    logger.info("training.%s: every row runs by itself: %s", name, reason)


def dropout_of(model: DualHeadModel) -> str:
    """Where the backbone is random in training, in words: a layer's name, or its attention; empty: nowhere.

    Args:
        model: In either mode; dropout before its head does not count, as it is drawn per row.
    """
    for name, module in model.causal_lm.named_modules():
        if isinstance(module, nn.Dropout) and module.p > 0:
            return f"{name}: {module.p:g}"
    body = model.causal_lm.base_model
    ids = torch.arange(64, device=body.device)[None] % body.config.get_text_config().vocab_size
    with torch.no_grad(), random_state_kept(body.device), mode(model.causal_lm, training=True):
        first, second = (body(input_ids=ids, use_cache=False).last_hidden_state for _ in range(2))
    return "" if torch.equal(first, second) else "in its attention"
