"""Where a backbone is: a hub name, a directory, a file, or in an installed package; nothing is loaded."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from dhrd._text import shown
from dhrd.errors import ModelError

SCRATCH = "scratch:"
"""Before the path of a config: a backbone of that shape with weights drawn from the run's seed."""


def locate(name_or_path: str) -> dict[str, str]:
    """What `from_pretrained` needs to find a backbone.

    `package:NAME/FILE` is a file that an installed package ships; the package is not imported. `scratch:CONFIG` has no
    weights to find: its tokenizer is beside the config.

    Raises:
        ModelError: The package, the file or the directory does not exist.
    """
    if name_or_path.startswith(SCRATCH):
        return {"pretrained_model_name_or_path": str(file_of(name_or_path.removeprefix(SCRATCH), name_or_path).parent)}
    path = _path_of(name_or_path)
    if Path(path).suffix.lower() == ".gguf":
        found = file_of(name_or_path, name_or_path)
        return {"pretrained_model_name_or_path": str(found.parent), "gguf_file": found.name}
    if path.startswith(("./", "../", "/")) and not os.path.exists(path):
        raise ModelError(
            f"model.name_or_path: {path} cannot be loaded: there is no such directory; "
            "give a hub name, a directory or a .gguf file"
        )
    return {"pretrained_model_name_or_path": path}


def _path_of(name_or_path: str) -> str:
    """A path in an installed package, or the name unchanged."""
    name = name_or_path
    if name.startswith("package:"):
        package, _, file = name.removeprefix("package:").partition("/")
        spec = importlib.util.find_spec(package) if package.isidentifier() else None
        if spec is None or not spec.submodule_search_locations:
            raise ModelError(
                f"{name}: the package {shown(package)} is not installed: pip install {package.replace('_', '-')}"
            )
        name = str(Path(spec.submodule_search_locations[0]) / file)
        if not Path(name).exists():
            raise ModelError(f"{name_or_path}: the package {shown(package)} has no file {shown(file)}")
    return name


def file_of(name_or_path: str, name: str) -> Path:
    """A file given by its path, or in an installed package.

    Args:
        name_or_path: Where it is.
        name: What the user gave, for the message.

    Raises:
        ModelError: It does not exist.
    """
    path = Path(_path_of(name_or_path))
    if not os.path.isfile(path):
        raise ModelError(f"{name}: no such file")
    return path
