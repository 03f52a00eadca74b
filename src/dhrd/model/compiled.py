"""`torch.compile` of a backbone's layers: what lies between matrix products in fewer passes over memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from torch import nn

from dhrd._text import message_of
from dhrd.errors import ConfigError


def compile_layers(layers: Iterable[nn.Module], run: Callable[[], object], setting: str) -> None:
    """Compile each layer, and run them, so that it fails here or not at all.

    Layers are alike, so that the first is compiled for all; the whole model would take several times as long.

    Args:
        layers: Changed in place.
        run: Runs them in the shapes that differ to the compiler.
        setting: What asked for it, for errors.

    Raises:
        ConfigError: It does not work here.
    """
    for layer in layers:
        layer.compile(dynamic=True)
    try:
        run()
    except Exception as error:  # compilers fail in many ways, none of them a defect of the model
        raise ConfigError(f"`{setting}`: torch.compile failed here ({message_of(error)}); leave it out") from error
