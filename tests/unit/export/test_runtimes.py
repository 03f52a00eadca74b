"""The registry of runtimes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from dhrd.artifact.info import EXPORTS
from dhrd.errors import ConfigError
from dhrd.export.runtimes import RUNTIMES, Runtime, files_of_all, find_runtime


@pytest.mark.parametrize("name", RUNTIMES)
def test_every_runtime_is_whole(name: str) -> None:
    runtime = find_runtime(name)
    assert issubclass(runtime, Runtime)
    assert not getattr(runtime, "__abstractmethods__", None)
    assert runtime.kind in EXPORTS
    assert runtime.weight_types[0] == "float32"
    assert runtime.title and runtime.files and runtime.packages


def test_the_files_of_all_are_those_of_each() -> None:
    assert files_of_all() == {"model.onnx", "model.onnx.data", "openvino_model.xml", "openvino_model.bin"}


def test_an_unknown_one_is_named() -> None:
    with pytest.raises(ConfigError, match="`format=gguf`: unknown; give onnx or openvino"):
        find_runtime("gguf")


def test_the_names_are_known_without_torch() -> None:
    names = ("torch", "onnxruntime", "openvino")
    program = f"import sys, dhrd.export.runtimes; print([name in sys.modules for name in {names}])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[False, False, False]"
