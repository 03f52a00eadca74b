"""Reading untrusted files: no foreign code runs, no pickle is opened, nothing outside the directory is read.

An artifact may come from a stranger, a backbone from a hub. Their weights are read from safetensors files that are
named here, never by transformers' own search, which also finds pickles, adapters, shards and files that a config names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import safe_open

from dhrd._loading import no_foreign_bars, no_loading_report
from dhrd._text import message_of, shown
from dhrd.errors import ArtifactError, DhrdError, is_out_of_memory

if TYPE_CHECKING:
    from torch import Tensor

NO_CODE: Mapping[str, Any] = {"trust_remote_code": False}
"""For every `from_pretrained`; None, the default, asks on the terminal."""

NO_PICKLE: Mapping[str, Any] = {**NO_CODE, "use_safetensors": True, "attn_implementation": None}
"""For every `from_pretrained` of a model; a config's `attn_implementation` may name native code on the hub."""

HERE: Mapping[str, Any] = {**NO_CODE, "local_files_only": True}
"""For files in an artifact's directory."""

_TABLES = 64 * 2**20  # bytes of a model's tables that are always allowed
_LARGEST_JSON = 16 * 2**20  # bytes of a config
_WEIGHTS, _INDEX = "model.safetensors", "model.safetensors.index.json"
_SHARDS = "shard-*-model-*.safetensors"  # transformers prefers them to model.safetensors

# With these, a config makes transformers load code, kernels or weights from elsewhere.
_LOADS_OTHERS = {
    "transformers_weights",
    "attn_implementation",
    "_attn_implementation",
    "experts_implementation",
    "_experts_implementation",
    "fusion_config",
    "distributed_config",
}
_QUANTIZED = {"quantization_config", "compression_config"}
_BUILT_IN = (None, "eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention")
_SHARED_LAYERS = 1000  # a backbone may reuse one block's weights for this many layers

_NUM_LAYERS = re.compile(r"(n|num)_(hidden_|decoder_|encoder_)?layers?|(en|de)coder_layers|depth")


@contextmanager
def foreign(describe: Callable[[BaseException], DhrdError]) -> Iterator[None]:
    """Turn whatever a library raises on untrusted data into the one-line error that `describe` returns."""
    try:
        with no_foreign_bars():
            yield
    except (DhrdError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:  # five libraries share no base class, and a Rust panic is not an Exception
        if is_out_of_memory(error):
            raise
        raise describe(error) from error


@contextmanager
def reading(path: Path, what: str = "damaged") -> Iterator[None]:
    """Read a file of an artifact.

    Args:
        path: The file, named in the error.
        what: What is wrong with it.

    Raises:
        ArtifactError: Whatever was raised inside.
    """

    def describe(error: BaseException) -> ArtifactError:
        where = f"{path.parent}: {path.name}"
        return ArtifactError(f"{where}: {what} ({message_of(error)}); download or write the artifact again")

    with no_loading_report(), foreign(describe):
        yield


def read_small_json(path: Path) -> dict[str, Any]:
    """The object in a small JSON file.

    Raises:
        ArtifactError: The file does not contain one.
    """
    if not path.is_file():  # reading a pipe or a device may never end
        raise ArtifactError(f"{path.parent}: {path.name}: no such file; download or write the artifact again")
    with reading(path):
        if (size := path.stat().st_size) > _LARGEST_JSON:
            raise ValueError(f"{size} bytes are too many")
        value = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(value, dict):
            raise ValueError(f"it holds {shown(value)}, no object")
    return value


@dataclass(frozen=True, slots=True)
class Weights:
    """The tensors of model.safetensors, or of the files that its index names, loaded on request.

    Args:
        path: Path of that file, or of the index.
        files: Maps each tensor's name to its file.
        shapes: Maps each tensor's name to its shape.
    """

    path: Path
    files: Mapping[str, Path]
    shapes: Mapping[str, tuple[int, ...]]

    @classmethod
    def of(cls, directory: Path) -> Weights:
        """Find the weights and read the files' headers.

        Raises:
            ArtifactError: They are missing or damaged, or the index leads out of the directory.
        """
        path = directory / _WEIGHTS
        if path.is_file():
            with reading(path), safe_open(path, framework="pt") as file:
                names = list(file.keys())
            return cls._with_shapes(path, dict.fromkeys(names, path))
        path = directory / _INDEX
        if not path.is_file():
            raise ArtifactError(
                f"{directory}: no {_WEIGHTS}; pickled weights (.bin, .pt) can run code: load them where they are "
                "trusted, and save_pretrained"
            )
        named = read_small_json(path).get("weight_map")
        if not isinstance(named, dict) or not all(map(_is_plain_name, named.values())):
            raise ArtifactError(
                f"{directory}: {_INDEX}: weight_map must name a .safetensors file beside it for each tensor"
            )
        return cls._with_shapes(path, {name: directory / file for name, file in named.items()})

    @classmethod
    def _with_shapes(cls, path: Path, files: Mapping[str, Path]) -> Weights:
        shapes: dict[str, tuple[int, ...]] = {}
        for file in sorted(set(files.values())):
            with reading(file), safe_open(file, framework="pt") as opened:
                own = [name for name in files if files[name] == file]
                shapes |= {name: tuple(opened.get_slice(name).get_shape()) for name in own}
        return cls(path, files, shapes)

    @property
    def num_blocks(self) -> int:
        """The number of numbered blocks among the tensors' names."""
        numbers = [int(part) for name in self.shapes for part in name.split(".") if re.fullmatch("[0-9]{1,9}", part)]
        return max(numbers, default=-1) + 1

    @property
    def largest_size(self) -> int:
        """The largest dimension of any tensor."""
        return max((size for shape in self.shapes.values() for size in shape), default=0)

    def load(self, *names: str) -> dict[str, Tensor]:
        """Tensors by name, on the CPU; all if none are named.

        Raises:
            ArtifactError: A file is damaged, or has no such tensor.
        """
        tensors: dict[str, Tensor] = {}
        for file in sorted({self.files.get(name, self.path) for name in names or self.files}):
            with reading(file), safe_open(file, framework="pt") as opened:
                own = [name for name in names or self.files if self.files.get(name, self.path) == file]
                tensors |= {name: opened.get_tensor(name) for name in own}
        return tensors


def _is_plain_name(name: Any) -> bool:
    return isinstance(name, str) and name.endswith(".safetensors") and name == Path(name).name and "\\" not in name


def check_directory(directory: Path, weights: Weights, *, is_backbone: bool = False) -> None:
    """Refuse a model directory that makes transformers load other weights, kernels or code, or build huge sizes.

    Args:
        directory: The directory with config.json.
        weights: Its weights, which bound the number of layers.
        is_backbone: Whether the weights may be quantized, and shared among layers.

    Raises:
        ArtifactError: Names the file.
    """
    strangers = [directory / "adapter_config.json", *directory.glob(_SHARDS)]
    if found := [path for path in strangers if path.exists()]:
        raise ArtifactError(
            f"{directory}: {found[0].name}: transformers would load more than {weights.path.name} because of it; "
            "remove it (an adapter: merge it into its model)"
        )
    path, num_layers = directory / "config.json", max(weights.num_blocks, _SHARED_LAYERS * is_backbone)
    for key, value in _settings(read_small_json(path)):
        loads_others = key in _LOADS_OTHERS and value not in _BUILT_IN
        if loads_others or (key in _QUANTIZED and value and not is_backbone):
            raise ArtifactError(
                f"{directory}: {path.name}: {key} is {shown(value)}, which dhrd does not load; remove it"
            )
        if _NUM_LAYERS.fullmatch(key):
            _check_size(path, key, value, num_layers, weights)
        if key == "num_labels":
            _check_size(path, key, value, weights.largest_size, weights)


def check_sizes(path: Path, config: Any, weights: Weights) -> None:
    """Compare a config's sizes, whatever the family calls them, with the weights, before anything is built.

    Raises:
        ArtifactError: One is larger than in the weights.
    """
    text = config.get_text_config()
    for name, limit in (
        ("num_hidden_layers", weights.num_blocks),
        ("hidden_size", weights.largest_size),
        ("vocab_size", weights.largest_size),
    ):
        _check_size(path, name, getattr(text, name, None), limit, weights)


def check_tables(path: Path, kind: Any, config: Any, weights: Weights) -> None:
    """Refuse a config of which a model keeps tables far larger than its weights, as of positions: no weight shows them.

    Args:
        path: The config's file, for the message.
        kind: The class of transformers that is built.
        config: The config.
        weights: The model's weights.

    Raises:
        ArtifactError: They are.
    """
    import torch

    build = getattr(kind, "_from_config", None) or kind.from_config
    try:
        with torch.device("meta"):  # sizes without memory
            tables = list(build(deepcopy(config)).buffers())
    except Exception:  # building it says in one line what is wrong with it
        return
    size = sum(table.numel() * table.element_size() for table in tables)
    if size > _TABLES + 2 * sum(map(prod, weights.shapes.values())):
        raise ArtifactError(
            f"{path.parent}: {path.name}: a model of it would keep {size / 2**30:,.1f} GiB beside its weights, as for "
            "positions that it never saw; download or write the artifact again"
        )


def _check_size(path: Path, name: str, value: Any, limit: int, weights: Weights) -> None:
    if isinstance(value, int) and not 0 <= value <= limit:
        raise ArtifactError(
            f"{path.parent}: {path.name}: {name} is {shown(value)}, but {weights.path.name} has {limit}; download or "
            "write the artifact again"
        )


def _settings(tree: Any) -> Iterator[tuple[str, Any]]:
    """Every key of nested JSON with its value."""
    left = [tree]
    while left:
        node = left.pop()
        if isinstance(node, dict):
            yield from node.items()
        left += node.values() if isinstance(node, dict) else node if isinstance(node, list) else []
