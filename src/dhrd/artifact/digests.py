"""Digests that bind an artifact's files and label names together: those of another training may have the same shapes.

A small file is hashed whole. Of a .safetensors file it is the size, the header, and the first and last 64 KiB of each
tensor: a training changes each tensor that it trains throughout, and a copy that broke off has the old ends after some
place. Of a 3B model in bf16 that is 25 MB of 6.4 GB, in 0.03 s, of pages that loading reads anyway.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from glob import escape
from pathlib import Path

from dhrd.model.fit import REASONING_HEAD
from dhrd.model.foreign import reading
from dhrd.model.location import SCRATCH, file_of

LABELS = "labels"
"""The key of the label names' digest; the others are files."""

HEAD = "head.safetensors"
WEIGHTS = ("config.json", "model.safetensors", "model-*-of-*.safetensors", "model.safetensors.index.json")
TOKENIZER = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja"),
    *("vocab.json", "vocab.txt", "merges.txt", "tokenizer.model"),
)
PARTS = (*WEIGHTS, HEAD, REASONING_HEAD, *TOKENIZER)
"""What answers are made of, as the hub's patterns; how rationales are decoded may be changed, and is not among it."""

_END = 1 << 16


def file_digests(directory: Path, patterns: Iterable[str]) -> dict[str, str]:
    """The digest of each file that is there, by name.

    Raises:
        ArtifactError: A .safetensors file is damaged.
    """
    found = {path for pattern in patterns for path in directory.glob(pattern) if path.is_file()}
    return {path.name: _file_digest(path) for path in sorted(found)}


def backbone_file_digests(name_or_path: str) -> dict[str, str]:
    """Of the files of a backbone that lies here: another training may write other weights there, or a config be edited.

    Empty for one on the hub or in a package, which its name decides.

    Raises:
        ArtifactError: A .safetensors file is damaged.
        ModelError: The config of `scratch:CONFIG` does not exist.
    """
    name = name_or_path.removeprefix(SCRATCH)
    if name.startswith("package:"):
        return {}
    path = file_of(name, name_or_path) if name != name_or_path else Path(name).expanduser()
    if path.is_dir():
        return file_digests(path, ("*.safetensors", "*.bin", "*config.json", *TOKENIZER))
    beside = TOKENIZER if name != name_or_path else ()  # `scratch:` reads the tokenizer next to its config
    return file_digests(path.parent, [escape(path.name), *beside]) if path.is_file() else {}


def names_digest(names: Sequence[str]) -> str:
    """Of the label names in their order."""
    return hashlib.sha256(json.dumps(list(names)).encode()).hexdigest()


def _file_digest(path: Path) -> str:
    with reading(path), path.open("rb") as file:
        if path.suffix != ".safetensors":
            return hashlib.file_digest(file, "sha256").hexdigest()
        length = file.read(8)
        header = file.read(int.from_bytes(length, "little"))
        digest = hashlib.sha256(f"{path.stat().st_size} ".encode() + header)
        for name, tensor in json.loads(header).items():
            if name != "__metadata__":
                start, stop = tensor["data_offsets"]
                for place in sorted({start, max(start, stop - _END)}):
                    file.seek(len(length) + len(header) + place)
                    digest.update(file.read(min(_END, stop - start)))
        return digest.hexdigest()
