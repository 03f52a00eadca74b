"""A trained classifier as an OpenVINO model: converted from the ONNX graph, and run on the CPU."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from dhrd._extras import require
from dhrd._text import dhrd_command, message_of
from dhrd.data.records import Batch
from dhrd.errors import ArtifactError, DhrdError
from dhrd.export.onnx import MODEL_FILE, traced
from dhrd.export.runtimes import Runtime
from dhrd.inference.classifier import Classifier

XML_FILE, BIN_FILE = "openvino_model.xml", "openvino_model.bin"

_PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}


class OpenvinoForward(Runtime):
    """An OpenVINO model compiled for this CPU.

    Args:
        compiled: The compiled model, with the inputs and output of the ONNX graph.
        dtype: Data type of matrix products.
    """

    title = "OpenVINO"
    files = (XML_FILE, BIN_FILE)
    packages = ("openvino", "onnx", "onnxscript")
    weight_types = ("float32", "bfloat16")

    def __init__(self, compiled: Any, dtype: str) -> None:
        self.compiled = compiled
        self.dtype = dtype

    @classmethod
    def write(cls, classifier: Classifier, directory: Path, *, weight_type: str = "float32") -> None:
        """Write openvino_model.xml, and openvino_model.bin with its weights.

        Args:
            classifier: In fp32 on the CPU.
            directory: An existing directory.
            weight_type: `bfloat16`: matrix products in bf16, with weights stored as fp16, which OpenVINO converts to
                bf16 on loading.

        Raises:
            DhrdError: torch cannot export this model, or OpenVINO cannot convert it.
            MissingExtra: OpenVINO or the exporter is not installed.
        """
        openvino = _openvino()
        for module in cls.packages:
            require(module, extra="openvino")
        with tempfile.TemporaryDirectory(
            dir=directory, prefix="."
        ) as beside:  # on disk, as it is as large as the model
            graph = Path(beside) / MODEL_FILE
            traced(classifier).save(graph, external_data=True)
            try:
                model = openvino.convert_model(graph)
            except Exception as error:  # its frontends raise their own error classes
                raise DhrdError(f"OpenVINO cannot convert this model: {message_of(error)}") from error
            model.set_rt_info(weight_type, "weight_type")
            openvino.save_model(model, directory / XML_FILE, compress_to_fp16=weight_type != "float32")

    @classmethod
    def from_pretrained(cls, directory: str | Path, *, num_threads: int | None = None) -> OpenvinoForward:
        """Load an export on the CPU.

        The export's precision is used; by default OpenVINO would use bf16 wherever the CPU supports it.

        Args:
            directory: The directory with openvino_model.xml.
            num_threads: Number of threads; None: as many as torch uses.

        Raises:
            ArtifactError: There is no model, or it is damaged.
            MissingExtra: OpenVINO is not installed.
        """
        runtime = _openvino()
        path = Path(directory) / XML_FILE
        if not path.is_file():
            write = dhrd_command("export", model="DIR", format="openvino", output=directory)
            raise ArtifactError(f"{directory}: no {XML_FILE}; write it with {write}")
        core = runtime.Core()
        try:
            model = core.read_model(path)
            dtype = str(model.get_rt_info("weight_type").value)
            settings = {
                "INFERENCE_PRECISION_HINT": _PRECISIONS[dtype],
                "INFERENCE_NUM_THREADS": num_threads or torch.get_num_threads(),
            }
            return cls(core.compile_model(model, "CPU", settings), dtype)
        except (RuntimeError, KeyError) as error:  # raised for a truncated or invalid file
            raise ArtifactError(f"{path}: damaged ({message_of(error)}); export it again") from error

    def __call__(self, batch: Batch) -> Tensor:
        """Class logits of a batch of inputs on the CPU, (B, C)."""
        given = {"input_ids": batch.input_ids_BT.numpy(), "attention_mask": batch.attention_mask_BT.long().numpy()}
        return torch.from_numpy(self.compiled(given)[0].copy())  # copied, as the next call overwrites the buffer


def _openvino() -> ModuleType:
    """Import OpenVINO without its telemetry, which reports conversions to a server."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None: as if it were not installed
    return require("openvino", extra="openvino")
