"""Which files in a directory belong to a model or a run, and whether dhrd wrote them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from dhrd._temporary import is_temporary
from dhrd.artifact.hub import FILES
from dhrd.artifact.info import EXPORTS, MANIFEST
from dhrd.artifact.known_rows import KNOWN
from dhrd.config import RunConfig
from dhrd.data.sources import files_of_rows, files_of_settings
from dhrd.errors import ModelError
from dhrd.model.location import SCRATCH, locate

_NAMES = (
    *(name for name in FILES if "/" not in name and "*" not in name),
    *("metrics.jsonl", "adapter_config.json", *KNOWN),
)
_PATTERNS = ("*.safetensors", "*.bin", "*.gguf", "*.onnx", "*.model", "adapter/**/*", "checkpoints/**/*")

_BLOCK, _NUM_BLOCKS = 1 << 16, 64


def model_files(directory: str | Path) -> Iterator[Path]:
    """The files of a model or a run in a directory, including those it may still create there.

    Other files beside them, such as predictions, are not included.
    """
    directory = Path(directory)
    if os.path.isfile(directory):  # no error over a name that the system refuses
        yield directory
    yield from (directory / name for name in _NAMES)
    for pattern in _PATTERNS if os.path.isdir(directory) else ():
        yield from (path for path in directory.glob(pattern) if os.path.isfile(path))


def wrote(directory: Path) -> bool:
    """Whether a directory contains a run, an artifact or an export of dhrd."""
    for name, key in ((MANIFEST, "format_version"), ("run.json", "config"), ("checkpoints/run.json", "config")):
        record = _read(directory / name)
        if key in record and "dhrd" in (record.get("versions") or {}):
            return True
    return False


def is_export(directory: Path) -> bool:
    """Whether a directory written by dhrd is an export, possibly an incomplete one."""
    parts = [path for path in directory.glob(".*") if is_temporary(path)]
    return any(_read(place / MANIFEST).get("kind") in EXPORTS for place in (directory, *parts))


def _read(path: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError, RecursionError):
        record = json.loads(path.read_text(encoding="utf-8"))
        return record if isinstance(record, dict) else {}
    return {}


def inputs_of(config: RunConfig, *specs: Any) -> Iterator[Path]:
    """The files and directories named by settings and further row specs, except for `data.rationales`.

    Commands that generate rationales may write the file that training reads with the same settings.
    """
    yield from files_of_settings(config.data)
    for spec in specs:
        yield from files_of_rows(spec, config.data)
    teacher = config.teacher
    if teacher.template is not None:
        yield Path(teacher.template)
    for name in (config.model.name_or_path, (teacher.name or "").removeprefix("local:"), teacher.tokenizer or ""):
        with suppress(ModelError):  # a file that cannot be found is not read
            path = locate(name)["pretrained_model_name_or_path"]
            if name and os.path.exists(path):
                yield from model_files(path)
            yield from (config for config in [Path(name.removeprefix(SCRATCH))] if os.path.isfile(config))


def artifact_fingerprint(directory: Path) -> str:
    """A fingerprint of an artifact, from its files' sizes and 4 MiB of each, evenly spread."""
    digest = hashlib.sha256()
    read = {path for path in model_files(directory) if path.is_file() and not _describes(path.relative_to(directory))}
    for path in sorted(read):
        size = path.stat().st_size
        digest.update(f"{path.relative_to(directory)} {size}\n".encode())
        with path.open("rb") as file:
            for offset in range(0, size, max(_BLOCK, size // _NUM_BLOCKS)):
                file.seek(offset)
                digest.update(file.read(_BLOCK))
    return digest.hexdigest()[:32]


def _describes(path: Path) -> bool:
    """Whether a file only describes a model and is not a part of it."""
    return path.parts[0] in ("run.json", "metrics.jsonl", "README.md", "parity.json", "checkpoints", *KNOWN)
