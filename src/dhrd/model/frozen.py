"""The frozen lower blocks run separately: their output for a row never changes (`training.cache_frozen`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dhrd._device import random_state_kept
from dhrd._text import message_of
from dhrd.data.records import Batch
from dhrd.errors import ConfigError, is_out_of_memory
from dhrd.model.adapters import blocks
from dhrd.model.pooling import row_states

Hidden = Float[Tensor, "B T D"]


def frozen_states(model: Any, batch: Batch, *, training: bool = False) -> Hidden:
    """Hidden states of the rows after the frozen blocks; the blocks above are not run.

    Args:
        model: A `DualHeadModel` with `freeze_layers`.
        batch: Sequences, on the model's device.
        training: Whether to apply training dropout, if the frozen part has any.
    """
    layers, num_frozen = blocks(model.causal_lm), model.settings.freeze_layers
    found: list[Tensor] = []

    def keep(block: Any, given: Any, output: Any) -> None:
        block.in_a_tuple = isinstance(output, tuple | list)
        found.append(output[0] if block.in_a_tuple else output)

    last = layers[num_frozen - 1]
    hook = last.register_forward_hook(keep)
    try:  # compiled layers would be recompiled for their replaced `forward`
        upper = _forwards(layers[num_frozen:], lambda hidden, *_, **__: _as_output(hidden, last))
        with torch.no_grad(), mode(model, training), torch.compiler.set_stance("force_eager"), upper:
            model.hidden_states(batch)
    finally:
        hook.remove()
    (hidden,) = found
    return row_states(hidden, batch)


def instead_of_frozen(model: Any, batch: Batch) -> ExitStack:
    """A context in which the frozen blocks return the batch's `frozen_BTD`; if it has none, they are run."""
    stack = ExitStack()
    if batch.frozen_BTD is not None:
        frozen, hidden_SWD = blocks(model.causal_lm)[: model.settings.freeze_layers], _laid_out(batch)
        stack.enter_context(_forwards(frozen, lambda *_, **__: _as_output(hidden_SWD, frozen[-1])))
    return stack


def _as_output(hidden: Tensor, block: nn.Module) -> Tensor | tuple[Tensor]:
    """Hidden states in the form that `frozen_states` saw the block return: the model's loop may take them from it."""
    return (hidden,) if getattr(block, "in_a_tuple", False) else hidden


def _laid_out(batch: Batch) -> Tensor:
    """`frozen_BTD` at the places of the rows' tokens: rows that share a token have the same state for it."""
    assert batch.frozen_BTD is not None
    if batch.tree is None:
        return batch.frozen_BTD
    width = batch.frozen_BTD.shape[2]
    states = batch.frozen_BTD.new_zeros(batch.tree.input_ids_SW.numel(), width)
    here_BT = batch.tree.place_BT >= 0
    states[batch.tree.place_BT[here_BT]] = batch.frozen_BTD[here_BT]
    return states.view(*batch.tree.input_ids_SW.shape, width)


def check_frozen(model: Any, batch: Batch) -> None:
    """Compare a pass from cached states with a full pass, on a few rows.

    The cached states are computed with dropout: if the frozen part has any, or passes the upper blocks more than
    hidden states, the two differ.

    Raises:
        ConfigError: They differ, or the model cannot run from them.
    """
    with torch.no_grad(), random_state_kept(batch.attention_mask_BT.device), mode(model, training=False):
        whole = row_states(model.hidden_states(batch), batch)[batch.attention_mask_BT]
        try:
            from_kept = replace(batch, frozen_BTD=frozen_states(model, batch, training=True))
            found = row_states(model.hidden_states(from_kept), batch)[batch.attention_mask_BT]
        except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            if is_out_of_memory(error):
                raise
            raise ConfigError(
                f"training.cache_frozen: {type(model.causal_lm).__name__} cannot run from its frozen part's hidden "
                f"states ({message_of(error)}); leave cache_frozen out"
            ) from error
    if not torch.allclose(found, whole, rtol=1e-3, atol=1e-3 * float(whole.abs().max())):
        raise ConfigError(
            f"training.cache_frozen: the frozen part of {type(model.causal_lm).__name__} has dropout, or gives more "
            "than hidden states, so that it must run in every step; leave cache_frozen out, or set its dropout to 0"
        )


@contextmanager
def _forwards(layers: Iterable[nn.Module], forward: Callable[..., Any]) -> Iterator[None]:
    """Replace `forward` of some blocks, on the objects themselves: the model's own loop and masks are unchanged."""
    layers = list(layers)
    for layer in layers:
        layer.forward = forward
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


@contextmanager
def mode(model: nn.Module, training: bool) -> Iterator[None]:
    """Set training or evaluation mode, and restore the previous one afterwards."""
    before = model.training
    model.train(training)
    try:
        yield
    finally:
        model.train(before)
