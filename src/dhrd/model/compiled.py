"""`torch.compile` of a backbone's layers: fewer passes over memory between matrix products."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from torch import nn

from dhrd._text import message_of
from dhrd.errors import ConfigError, is_out_of_memory

_MAX_VARIANTS = 32
"""Of one layer's code: its input requires a gradient or not, the mask is bool, float or None, one row or several,
training or evaluation. torch stops at 8 and runs the others uncompiled."""


def compile_layers(layers: Iterable[nn.Module], run: Callable[[], object], setting: str) -> None:
    """Compile each layer, and run them, so that any failure happens here.

    Layers are alike, so the first is compiled for all; the whole model would take several times as long.

    Args:
        layers: Changed in place.
        run: Runs them in each shape that the compiler distinguishes.
        setting: The setting that requested it, for error messages.

    Raises:
        ConfigError: Compilation fails on this machine.
    """
    from torch._dynamo import config  # takes a second to import

    config.recompile_limit = max(config.recompile_limit, _MAX_VARIANTS)
    for layer in layers:
        layer.compile(dynamic=True)
    try:
        run()
    except Exception as error:  # compilers fail in many ways, none of them a defect of the model
        if is_out_of_memory(error):
            raise
        raise ConfigError(f"`{setting}`: torch.compile failed here ({message_of(error)}); leave it out") from error
