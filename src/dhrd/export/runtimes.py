"""The runtimes that a classifier can be exported to and measured in.

A further one is a class, a `Runtime`, and a line in `RUNTIMES`: `dhrd export --format` and `dhrd benchmark --against`
then know it, behind the same parity gate.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from dhrd.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from dhrd.artifact.info import Kind
    from dhrd.data.records import Batch
    from dhrd.inference.classifier import Classifier

RUNTIMES: Mapping[str, str] = {
    "onnx": "dhrd.export.onnx:OnnxForward",
    "openvino": "dhrd.export.openvino:OpenvinoForward",
}
"""Name -> module and class, imported where it is used: help must not wait for it."""


class Runtime(ABC):
    """An exported classifier as a forward function, for `predict_logits`; its class writes exports.

    Attributes:
        title: In words.
        kind: What the `dhrd.json` of its exports says.
        files: All that it may write beside the tokenizer's and config.json.
        packages: Whose versions decide its numbers.
        weight_types: What it can write, the exact one first: it is held to the strictest parity.
        dtype: Of the weights that were loaded.
    """

    title: ClassVar[str]
    kind: ClassVar[Kind] = "export"
    files: ClassVar[tuple[str, ...]]
    packages: ClassVar[tuple[str, ...]]
    weight_types: ClassVar[tuple[str, ...]] = ("float32",)
    dtype: str

    @classmethod
    @abstractmethod
    def write(cls, classifier: Classifier, directory: Path, *, weight_type: str) -> None:
        """Write the classifier's forward pass.

        Args:
            classifier: In fp32 on the CPU.
            directory: Exists.
            weight_type: Of `weight_types`.

        Raises:
            DhrdError: This model cannot be exported.
            MissingExtra: A package is not installed.
        """

    @classmethod
    @abstractmethod
    def from_pretrained(cls, directory: str | Path) -> Runtime:
        """Load what `write` wrote, on the CPU.

        Raises:
            ArtifactError: It is missing or damaged.
            MissingExtra: The runtime is not installed.
        """

    @abstractmethod
    def __call__(self, batch: Batch) -> Tensor:
        """Class logits of a batch of inputs on the CPU, (B, C)."""


def find_runtime(name: str) -> type[Runtime]:
    """A runtime by name.

    Raises:
        ConfigError: There is none of that name.
    """
    if name not in RUNTIMES:
        raise ConfigError(f"`format={name}`: unknown; give {' or '.join(RUNTIMES)}")
    module, _, kind = RUNTIMES[name].partition(":")
    runtime: type[Runtime] = getattr(importlib.import_module(module), kind)
    return runtime
