"""`dhrd export`: a classifier in another format, beside the proof that it answers alike."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig

from dhrd._files import holds_nothing, locked, saving, write_json, writing_directory
from dhrd._versions import library_versions
from dhrd.artifact.info import MANIFEST, to_manifest
from dhrd.artifact.owned import is_export
from dhrd.data.records import Example
from dhrd.errors import ConfigError, DataError, DhrdError
from dhrd.evaluation.evaluate import compare_forwards
from dhrd.export.onnx_model import OnnxForward, WeightType, write_onnx
from dhrd.inference.classifier import Classifier
from dhrd.model.foreign import HERE

PARITY_FILE = "parity.json"
_FP32_TOLERANCE = 1e-3  # of a probability: ONNX Runtime adds up in another order, over a whole depth
_INT8_AGREEMENT = 0.99


def export_onnx(
    model_dir: str | Path,
    output_dir: str | Path,
    examples: Sequence[Example],
    *,
    weight_type: WeightType = "float32",
    min_agreement: float | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write an artifact as an ONNX graph with its tokenizer, once it is shown to answer as the artifact does.

    Args:
        model_dir: What `dhrd train` wrote.
        output_dir: Gets model.onnx, model.onnx.data, config.json, the tokenizer's files, dhrd.json and parity.json.
        examples: Rows of the kind that it will see; labels are not needed.
        weight_type: `int8` is smaller, faster and another model: look at its agreement.
        min_agreement: Share of the rows whose label must be the same; None: 1 in fp32, where probabilities must be
            within 0.001 as well, and 0.99 in int8.
        overwrite: Replace an older export in `output_dir`; other files in it are kept.

    Returns:
        What parity.json holds.

    Raises:
        ArtifactError: The artifact cannot be used.
        ConfigError: `output_dir` is not empty, or holds something else than an export; or a setting is not valid.
        DataError: There are no rows, or one cannot be encoded.
        DhrdError: The graph cannot be written or disagrees; `output_dir` is as it was.
        MissingExtra: ONNX Runtime or the exporter is not installed.
    """
    output_dir = Path(output_dir)
    if weight_type not in ("float32", "int8"):
        raise ConfigError(f"`weight_type` {weight_type}: unknown; give float32 or int8")
    check_export_place(model_dir, output_dir, overwrite=overwrite)
    if not examples:
        raise DataError("an export is compared with its artifact on rows, and there are none; give `data=SPEC`")
    classifier = Classifier.from_pretrained(model_dir, device="cpu", dtype=torch.float32)
    inputs = classifier.encoder.encode_examples(examples)
    config = AutoConfig.from_pretrained(model_dir, **HERE)
    with (
        locked(output_dir) if output_dir.is_dir() else nullcontext(),
        saving(str(output_dir)),
        writing_directory(output_dir, last=MANIFEST, stale=["model.onnx.data"]) as partial,
    ):
        write_onnx(classifier, partial, weight_type=weight_type)
        parity = _parity(classifier, partial, [item.input_ids for item in inputs])
        _check(parity, weight_type, min_agreement, output_dir)
        config.save_pretrained(partial)
        classifier.tokenizer.save_pretrained(partial)
        write_json(partial / PARITY_FILE, parity)
        write_json(partial / MANIFEST, to_manifest(classifier.info) | {"kind": "onnx"})
    return parity


def check_export_place(model_dir: str | Path, output_dir: Path, *, overwrite: bool) -> None:
    """Refuse a directory in which an export would take the place of something else.

    Raises:
        ConfigError: It is the artifact's, is not empty, or with `overwrite` holds no export.
    """
    if Path(model_dir).resolve().is_relative_to(output_dir.resolve()):
        raise ConfigError(
            f"`output_dir` {output_dir}: that is the artifact itself, or holds it; give another directory"
        )
    was_cut = is_export(output_dir) and not (output_dir / MANIFEST).exists()
    if holds_nothing(output_dir) or was_cut:
        return
    if not overwrite:
        raise ConfigError(f"`output_dir` {output_dir}: is there already; replace it with `overwrite`, or give another")
    if not is_export(output_dir):
        raise ConfigError(
            f"`output_dir` {output_dir}: `overwrite` replaces what `dhrd export` wrote, and no dhrd.json there says "
            "that it did; give another directory"
        )


def _parity(classifier: Classifier, directory: Path, input_ids: Sequence[list[int]]) -> dict[str, Any]:
    forward = OnnxForward.from_pretrained(directory)
    found = compare_forwards(
        (forward, "cpu"),
        (classifier.logits, "cpu"),
        input_ids,
        pad_token_id=classifier.tokenizer.pad_token_id,
        multi_label=classifier.labels.multi_label,
    )
    return {
        "weight_type": forward.dtype,
        "against": "the artifact in float32",
        **found,
        "size_bytes": sum(path.stat().st_size for path in directory.iterdir()),
        "versions": library_versions() | {name: version(name) for name in ("onnx", "onnxruntime", "onnxscript")},
    }


def _check(parity: dict[str, Any], weight_type: WeightType, min_agreement: float | None, output_dir: Path) -> None:
    """Refuse a graph that disagrees with its artifact."""
    least = min_agreement if min_agreement is not None else 1.0 if weight_type == "float32" else _INT8_AGREEMENT
    share, apart = parity["label_agreement"], parity["max_probability_difference"]
    what = f"on {parity['num_examples']} rows: the same label on {share:.2%}, probabilities up to {apart:.2g} apart"
    if not share >= least:
        raise DhrdError(
            f"{output_dir} was not written: the graph disagrees with its artifact {what}; "
            f"`min_agreement` {least:g} is asked of it"
        )
    if not apart <= (_FP32_TOLERANCE if weight_type == "float32" else 1):  # NaN is not
        raise DhrdError(f"{output_dir} was not written: the graph disagrees with its artifact {what}")
