"""A trained classifier as an ONNX graph: exporting, quantizing to int8, and running it with ONNX Runtime.

The graph is the classifier's forward pass: backbone, pooling and head. Its inputs are `input_ids` and `attention_mask`,
(batch, tokens) int64 with padding on either side, its output is `logits`, (batch, labels) in fp32. The end of an input
is found from the mask, so a padding token within a text does not matter.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dhrd._extras import require
from dhrd._text import dhrd_command
from dhrd.data.records import Batch
from dhrd.errors import ArtifactError, DhrdError
from dhrd.export.runtimes import Runtime
from dhrd.inference.classifier import Classifier

MODEL_FILE = "model.onnx"

_OPSET = 20  # the version with which the tests run all supported families
_SAMPLE_SHAPE = (2, 8)  # both dimensions are dynamic; a single row would be treated as a constant


class OnnxForward(Runtime):
    """An ONNX graph in ONNX Runtime.

    Args:
        session: The ONNX Runtime session.
        dtype: Data type of the weights.
    """

    title = "ONNX Runtime"
    kind = "onnx"
    files = (MODEL_FILE, f"{MODEL_FILE}.data")
    packages = ("onnx", "onnxruntime", "onnxscript")
    weight_types = ("float32", "int8")

    def __init__(self, session: Any, dtype: str) -> None:
        self.session = session
        self.dtype = dtype

    @classmethod
    def write(cls, classifier: Classifier, directory: Path, *, weight_type: str = "float32") -> None:
        """Write model.onnx, and model.onnx.data with its weights.

        Args:
            classifier: In fp32 on the CPU.
            directory: An existing directory.
            weight_type: `int8`: matrix products in int8, weights with one scale per column, activations scaled at run
                time (ONNX Runtime's dynamic quantization). Narrowing products, the head and embeddings stay in fp32.

        Raises:
            DhrdError: torch cannot export this model.
            MissingExtra: The exporter is not installed.
        """
        for module in cls.packages:  # check for all packages before the first step
            require(module, extra="onnx")
        path = directory / MODEL_FILE
        program = traced(classifier)
        program.model.metadata_props["weight_type"] = weight_type
        program.save(path, external_data=True)  # outside the block, as a full disk is not the model's fault
        if weight_type == "int8":
            _to_int8(path)

    @classmethod
    def from_pretrained(cls, directory: str | Path, *, num_threads: int | None = None) -> OnnxForward:
        """Load an export on the CPU.

        Args:
            directory: The directory with model.onnx.
            num_threads: Threads per operator; None: as many as torch uses.

        Raises:
            ArtifactError: There is no graph, or it is damaged.
            MissingExtra: ONNX Runtime is not installed.
        """
        runtime = require("onnxruntime", extra="onnx")
        path = Path(directory) / MODEL_FILE
        if not path.is_file():
            raise ArtifactError(
                f"{directory}: no {MODEL_FILE}; write it with {dhrd_command('export', model='DIR', output=directory)}"
            )
        options = runtime.SessionOptions()
        options.intra_op_num_threads = num_threads or torch.get_num_threads()
        options.log_severity_level = 3  # errors only
        try:
            session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's errors have no common base class
            raise ArtifactError(f"{path}: damaged ({str(error).splitlines()[0]}); export it again") from error
        return cls(session, session.get_modelmeta().custom_metadata_map.get("weight_type", "float32"))

    def __call__(self, batch: Batch) -> Tensor:
        """Class logits of a batch of inputs on the CPU, (B, C)."""
        given = {"input_ids": batch.input_ids_BT.numpy(), "attention_mask": batch.attention_mask_BT.long().numpy()}
        return torch.from_numpy(np.asarray(self.session.run(["logits"], given)[0]))


def traced(classifier: Classifier) -> torch.onnx.ONNXProgram:
    """Trace the graph of a classifier in fp32 on the CPU.

    Raises:
        DhrdError: torch cannot export this model.
    """
    sample = torch.ones(_SAMPLE_SHAPE, dtype=torch.long)
    sizes = {0: "batch", 1: "tokens"}
    try:
        with _quiet(), torch.inference_mode():
            program = torch.onnx.export(
                _Graph(classifier).eval(),
                (sample, sample.clone()),
                dynamo=True,
                opset_version=_OPSET,
                input_names=["input_ids", "attention_mask"],
                output_names=["logits"],
                dynamic_shapes=(sizes, sizes),
                verbose=False,
            )
    except Exception as error:  # tracing runs code of transformers and torch.export, which can raise anything
        cause: BaseException = error
        while cause.__cause__ is not None:  # the exporter's own message is meant for its developers
            cause = cause.__cause__
        raise DhrdError(f"this model cannot be exported: {' '.join(str(cause).split())[:300]}") from error
    assert program is not None
    return program


class _Graph(nn.Module):
    """The classifier's forward pass on the inputs of the ONNX graph."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.body, self.head = classifier.body, classifier.head
        self.logits = classifier.logits

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        columns = torch.arange(input_ids.shape[1], device=input_ids.device)
        end_B = (columns * attention_mask).amax(1)
        batch = Batch(
            ids=(),
            input_ids_BT=input_ids,
            attention_mask_BT=attention_mask.bool(),
            position_ids_BT=(attention_mask.cumsum(1) - 1).clamp(min=0),
            pool_start_B=end_B + 1 - attention_mask.sum(1),
            pool_index_B=end_B,
        )
        return self.logits(batch)


def _to_int8(path: Path) -> None:
    """Replace a graph by one with int8 weights."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(path)
    shapes = {tensor.name: tensor.dims for tensor in model.graph.initializer}
    narrowing = [
        node.name
        for node in model.graph.node
        if node.op_type == "MatMul" and node.input[1] in shapes and _narrows(*shapes[node.input[1]])
    ]
    del model.graph.value_info[:]  # drop intermediate shapes, on which onnxruntime before 1.32 fails
    path.unlink()
    path.with_name(path.name + ".data").unlink(missing_ok=True)  # otherwise the new data would be appended
    with _quiet():
        quantize_dynamic(
            model,
            path,
            op_types_to_quantize=["MatMul"],  # the head is a Gemm on one vector per row and stays in fp32
            per_channel=True,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=narrowing,
            use_external_data_format=True,
        )


def _narrows(num_inputs: int, num_outputs: int) -> bool:
    """Whether a product has more inputs than outputs, as at the end of an MLP. Its inputs have the largest outliers, so
    a single scale for them changes labels (SmolLM2 on CommitmentBank: 10 of 56, but 1 with these products in fp32)."""
    return num_inputs > num_outputs


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter and quantizer, which log every pass; failures raise anyway."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
