"""The one helper for optional imports."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

from dhrd.errors import ConfigError, MissingExtra


def require(module: str, *, extra: str) -> ModuleType:
    """Import an optional dependency.

    Args:
        module: The module's import name, for example `"mlflow"`.
        extra: The extra of this package that installs it.

    Returns:
        The imported module.

    Raises:
        MissingExtra: It is not installed; the message is the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        if error.name is None or error.name.partition(".")[0] != module.partition(".")[0]:
            raise  # it is installed but broken: its own message is the useful one
        raise MissingExtra(
            f"this needs `{module}`, which is not installed: pip install '.[{extra}]' in a clone of dhrd, or "
            f"'dhrd[{extra}]' from an index that has it"
        ) from error


def check_vllm(flag: str) -> None:
    """Refuse to start if vLLM is not installed; it is not an extra, as it requires its own torch.

    Args:
        flag: The option that requested it.

    Raises:
        ConfigError: It is not installed.
    """
    if importlib.util.find_spec("vllm") is None:
        raise ConfigError(f"{flag}: this needs vLLM: pip install vllm, or leave it out")
