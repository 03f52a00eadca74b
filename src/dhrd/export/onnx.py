"""A trained classifier as an ONNX graph: writing it, int8 weights, running it with ONNX Runtime.

The graph is the forward pass of the classifier itself: backbone, pooling and head. It takes `input_ids` and
`attention_mask`, (batch, tokens) int64 with padding on either side, and gives `logits`, (batch, labels) in fp32. The
input's end is found in the mask, so a padding token inside a text is no end.
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

_OPSET = 20  # what the tests run all supported families with
_SAMPLE_SHAPE = (2, 8)  # both dimensions are dynamic; two rows, since one would be taken for a constant


class OnnxForward(Runtime):
    """An ONNX graph in ONNX Runtime.

    Args:
        session: Of ONNX Runtime.
        dtype: Of the weights.
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
            directory: Exists.
            weight_type: `int8`: matrix products in int8, weights with one scale a column, activations scaled as they
                come (ONNX Runtime's dynamic quantization). Products that narrow, the head and embeddings stay in fp32.

        Raises:
            DhrdError: torch cannot export this model.
            MissingExtra: The exporter is not installed.
        """
        for module in cls.packages:  # the last step needs the second: say so before the first
            require(module, extra="onnx")
        path = directory / MODEL_FILE
        program = traced(classifier)
        program.model.metadata_props["weight_type"] = weight_type
        program.save(path, external_data=True)  # a full disk is no defect of the model
        if weight_type == "int8":
            _to_int8(path)

    @classmethod
    def from_pretrained(cls, directory: str | Path, *, num_threads: int | None = None) -> OnnxForward:
        """Load what `dhrd export` wrote, on the CPU.

        Args:
            directory: Holds model.onnx.
            num_threads: Of one operator; None: as many as torch uses.

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
        options.log_severity_level = 3  # errors
        try:
            session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime has no base class of its errors
            raise ArtifactError(f"{path}: damaged ({str(error).splitlines()[0]}); export it again") from error
        return cls(session, session.get_modelmeta().custom_metadata_map.get("weight_type", "float32"))

    def __call__(self, batch: Batch) -> Tensor:
        """Class logits of a batch of inputs on the CPU, (B, C)."""
        given = {"input_ids": batch.input_ids_BT.numpy(), "attention_mask": batch.attention_mask_BT.long().numpy()}
        return torch.from_numpy(np.asarray(self.session.run(["logits"], given)[0]))


def traced(classifier: Classifier) -> torch.onnx.ONNXProgram:
    """The graph of a classifier in fp32 on the CPU.

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
    except Exception as error:  # tracing runs the whole of transformers and torch.export
        cause: BaseException = error
        while cause.__cause__ is not None:  # the exporter's own message is advice to its developers
            cause = cause.__cause__
        raise DhrdError(f"this model cannot be exported: {' '.join(str(cause).split())[:300]}") from error
    assert program is not None
    return program


class _Graph(nn.Module):
    """The classifier's forward pass over what an ONNX graph is given."""

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
    del model.graph.value_info[:]  # the exporter's shapes of steps between: onnxruntime before 1.32 fails over them
    path.unlink()
    path.with_name(path.name + ".data").unlink(missing_ok=True)  # or the next would be appended to it
    with _quiet():
        quantize_dynamic(
            model,
            path,
            op_types_to_quantize=["MatMul"],  # the head runs on one vector a row, a Gemm: it stays in fp32
            per_channel=True,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=narrowing,
            use_external_data_format=True,
        )


def _narrows(num_inputs: int, num_outputs: int) -> bool:
    """Whether a product's inputs outnumber its outputs, as behind an MLP: one scale for all of those, whose outliers
    are the largest, costs labels (SmolLM2 on CommitmentBank: 10 of 56, against 1 with these products in fp32)."""
    return num_inputs > num_outputs


@contextmanager
def _quiet() -> Iterator[None]:
    """Exporter and quantizer tell of every pass that they make; what fails raises."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
