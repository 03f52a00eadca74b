"""Which files in a directory are a model's or a run's, and whether dhrd wrote them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from dhrd._temporary import is_temporary
from dhrd.artifact.info import MANIFEST
from dhrd.config import RunConfig
from dhrd.data.files import files_of_rows, files_of_settings
from dhrd.errors import ModelError

_NAMES = (
    *(MANIFEST, "run.json", "metrics.jsonl", "README.md", "parity.json"),
    *("config.json", "generation_config.json", "model.safetensors", "model.safetensors.index.json"),
    *("head.safetensors", "reasoning_head.safetensors", "model.onnx", "model.onnx.data"),
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja"),
    *("adapter_config.json", "vocab.json", "vocab.txt", "merges.txt", "tokenizer.model"),
)
_PATTERNS = ("*.safetensors", "*.bin", "*.gguf", "*.onnx", "*.model", "adapter/**/*", "checkpoints/**/*")


def model_files(directory: str | Path) -> Iterator[Path]:
    """The files of a model or a run in a directory, and the names that they may yet have there.

    What someone else has put beside them, say predictions, is not among them.
    """
    directory = Path(directory)
    if os.path.isfile(directory):  # no error over a name that the system refuses
        yield directory
    yield from (directory / name for name in _NAMES)
    for pattern in _PATTERNS if os.path.isdir(directory) else ():
        yield from (path for path in directory.glob(pattern) if os.path.isfile(path))


def wrote(directory: Path) -> bool:
    """Whether a run, an artifact or an export of dhrd is in a directory."""
    for name, key in ((MANIFEST, "format_version"), ("run.json", "config"), ("checkpoints/run.json", "config")):
        found = _read(directory / name)
        if key in found and "dhrd" in (found.get("versions") or {}):
            return True
    return False


def is_export(directory: Path) -> bool:
    """Whether what dhrd wrote to a directory is an export for another runtime, or the part of one that a kill cut."""
    parts = [path for path in directory.glob(".*") if is_temporary(path)]
    return any(_read(one / MANIFEST).get("kind") == "onnx" for one in (directory, *parts))


def _read(path: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError, RecursionError):
        found = json.loads(path.read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else {}
    return {}


def inputs_of(config: RunConfig, *specs: Any) -> Iterator[Path]:
    """All files, and directories of them, that settings and further specs of rows name, but for `data.rationales`.

    What makes rationales may write the file that training reads by the same settings.
    """
    from dhrd.model.backbone import SCRATCH, locate

    yield from files_of_settings(config.data)
    for spec in specs:
        yield from files_of_rows(spec, config.data)
    teacher = config.teacher
    if teacher.template is not None:
        yield Path(teacher.template)
    for name in (config.model.name_or_path, (teacher.name or "").removeprefix("local:"), teacher.tokenizer or ""):
        with suppress(ModelError):  # what cannot be found is not read
            found = locate(name)["pretrained_model_name_or_path"]
            if name and os.path.exists(found):
                yield from model_files(found)
            yield from (path for path in [Path(name.removeprefix(SCRATCH))] if os.path.isfile(path))
