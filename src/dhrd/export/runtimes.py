"""The runtimes that a classifier can be exported to and benchmarked in.

To add one, write a subclass of `Runtime` and add a line to `RUNTIMES`: `dhrd export --format` and
`dhrd benchmark --against` then support it, with the same parity check.
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
"""Module and class by name; imported only when used, so that `--help` is fast."""


class Runtime(ABC):
    """An exported classifier as a forward function for `predict_logits`; the class also writes exports.

    Attributes:
        title: Display name.
        kind: The `kind` in the `dhrd.json` of its exports.
        files: All files that it may write beside the tokenizer's and config.json.
        packages: Packages whose versions affect its results.
        weight_types: Supported weight types, the exact one first, which must pass the strictest parity check.
        dtype: Data type of the loaded weights.
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
            directory: An existing directory.
            weight_type: One of `weight_types`.

        Raises:
            DhrdError: This model cannot be exported.
            MissingExtra: A package is not installed.
        """

    @classmethod
    @abstractmethod
    def from_pretrained(cls, directory: str | Path) -> Runtime:
        """Load an export on the CPU.

        Raises:
            ArtifactError: The export is missing or damaged.
            MissingExtra: The runtime is not installed.
        """

    @abstractmethod
    def __call__(self, batch: Batch) -> Tensor:
        """Class logits of a batch of inputs on the CPU, (B, C)."""


def find_runtime(name: str) -> type[Runtime]:
    """Find a runtime by name.

    Raises:
        ConfigError: The name is unknown.
    """
    if name not in RUNTIMES:
        raise ConfigError(f"`format={name}`: unknown; give {' or '.join(RUNTIMES)}")
    module, _, kind = RUNTIMES[name].partition(":")
    runtime: type[Runtime] = getattr(importlib.import_module(module), kind)
    return runtime


def files_of_all() -> set[str]:
    """The files that an export in any format may have: beside a new one they would be another model's."""
    return {file for name in RUNTIMES for file in find_runtime(name).files}
