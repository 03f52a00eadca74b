"""`dhrd export`: write a classifier for another runtime, and verify that it answers like the artifact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict
from transformers import AutoConfig

from dhrd._files import holds_nothing, locked, saving, write_json, writing_directory
from dhrd._versions import library_versions
from dhrd.artifact.info import MANIFEST, to_manifest
from dhrd.artifact.owned import is_export
from dhrd.data.records import Example
from dhrd.errors import ConfigError, DataError, DhrdError
from dhrd.evaluation.evaluate import compare_forwards
from dhrd.export.runtimes import Runtime, files_of_all, find_runtime
from dhrd.inference.classifier import Classifier
from dhrd.model.foreign import HERE

PARITY_FILE = "parity.json"
_EXACT_TOLERANCE = 1e-3  # of a probability, as runtimes sum in different orders
_ROUNDED_AGREEMENT = 0.99


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSettings:
    """Settings of an export.

    Args:
        format: A key of `RUNTIMES`.
        weight_type: A weight type of the format. `int8` and `bfloat16` are smaller and faster, but only approximate:
            check the agreement.
        min_agreement: Minimum share of rows with the same label; None: 1 in fp32, where probabilities must also be
            within 0.001, and 0.99 otherwise.
    """

    format: str = "onnx"
    weight_type: str = "float32"
    min_agreement: float | None = None


class ExportParity(BaseModel):
    """The content of parity.json: a comparison of an export with its artifact.

    Args:
        weight_type: The export's weight type.
        against: What it was compared with.
        num_examples: Number of rows.
        max_logit_difference: Over rows and labels.
        max_probability_difference: Over rows and labels.
        label_agreement: Share of rows with the same label or set of labels.
        size_bytes: Size of the runtime's files.
        versions: Versions of the libraries on both sides.
    """

    model_config = ConfigDict(frozen=True)

    weight_type: str
    against: str = "the artifact in float32"
    num_examples: int
    max_logit_difference: float
    max_probability_difference: float
    label_agreement: float
    size_bytes: int
    versions: Mapping[str, str]


def export_classifier(
    model_dir: str | Path,
    output_dir: str | Path,
    examples: Sequence[Example],
    settings: ExportSettings | None = None,
    *,
    overwrite: bool = False,
) -> ExportParity:
    """Export an artifact, with its tokenizer, after verifying that the export answers like the artifact.

    Args:
        model_dir: An artifact, written by `train`.
        output_dir: Directory for the runtime's files, config.json, the tokenizer's files, dhrd.json and parity.json.
        examples: Representative rows; labels are not needed.
        settings: Settings of the export.
        overwrite: Replace an older export in `output_dir`, of whatever format; other files in it are kept.

    Raises:
        ArtifactError: The artifact cannot be used.
        ConfigError: `output_dir` is not empty, or contains something other than an export, or a setting is invalid.
        DataError: There are no rows, or one cannot be encoded.
        DhrdError: The export fails or disagrees with the artifact; `output_dir` is unchanged.
        MissingExtra: The runtime or its exporter is not installed.
    """
    settings, output_dir = settings or ExportSettings(), Path(output_dir)
    target, weight_type = find_runtime(settings.format), settings.weight_type
    if weight_type not in target.weight_types:
        raise ConfigError(f"`weight_type={weight_type}`: unknown; give {' or '.join(target.weight_types)}")
    check_export_place(model_dir, output_dir, overwrite=overwrite)
    if not examples:
        raise DataError("there are no rows to compare the export with its artifact on; give `data` SPEC")
    classifier = Classifier.from_pretrained(model_dir, device="cpu", dtype=torch.float32)
    inputs = classifier.encoder.encode([(example.columns(), example.where) for example in examples])
    config = AutoConfig.from_pretrained(model_dir, **HERE)
    with (
        locked(output_dir) if output_dir.is_dir() else nullcontext(),
        saving(str(output_dir)),
        writing_directory(output_dir, last=MANIFEST, stale=files_of_all()) as partial,
    ):
        target.write(classifier, partial, weight_type=weight_type)
        parity = _parity(classifier, target.from_pretrained(partial), partial, [item.input_ids for item in inputs])
        _check(parity, output_dir, settings.min_agreement, is_exact=weight_type == target.weight_types[0])
        config.save_pretrained(partial)
        classifier.tokenizer.save_pretrained(partial)
        write_json(partial / PARITY_FILE, parity.model_dump())
        info = classifier.info.model_copy(update={"digests": {}})  # of the artifact's files, not of these
        write_json(partial / MANIFEST, to_manifest(info) | {"kind": target.kind})
    return parity


def check_export_place(model_dir: str | Path, output_dir: Path, *, overwrite: bool) -> None:
    """Refuse a directory in which an export would overwrite something else.

    Raises:
        ConfigError: It is the artifact's directory, or is not empty (with `overwrite`: contains no export).
    """
    if Path(model_dir).resolve().is_relative_to(output_dir.resolve()):
        raise ConfigError(f"`output={output_dir}`: is the artifact itself, or contains it; give another directory")
    was_cut = is_export(output_dir) and not (output_dir / MANIFEST).exists()
    if holds_nothing(output_dir) or was_cut:
        return
    if not overwrite:
        raise ConfigError(f"`output={output_dir}`: already exists; replace it with `overwrite`, or give another")
    if not is_export(output_dir):
        raise ConfigError(
            f"`output={output_dir}`: `overwrite` only replaces output of `dhrd export`, and there is no dhrd.json from "
            "it; give another directory"
        )


def _parity(classifier: Classifier, forward: Runtime, directory: Path, input_ids: Sequence[list[int]]) -> ExportParity:
    compared = compare_forwards(
        (forward, "cpu"),
        (classifier.logits, "cpu"),
        input_ids,
        pad_token_id=classifier.tokenizer.pad_token_id,
        labels=classifier.labels,
    )
    return ExportParity(
        weight_type=forward.dtype,
        num_examples=len(input_ids),
        max_logit_difference=compared["max_logit_difference"],
        max_probability_difference=compared["max_probability_difference"],
        label_agreement=compared["label_agreement"],
        size_bytes=sum(path.stat().st_size for path in directory.iterdir()),
        versions=library_versions() | {name: version(name) for name in forward.packages},
    )


def _check(parity: ExportParity, output_dir: Path, min_agreement: float | None, *, is_exact: bool) -> None:
    """Refuse an export that disagrees with its artifact."""
    least = min_agreement if min_agreement is not None else 1.0 if is_exact else _ROUNDED_AGREEMENT
    share, apart = parity.label_agreement, parity.max_probability_difference
    what = f"on {parity.num_examples} rows: same label on {share:.2%}, probabilities up to {apart:.2g} apart"
    if not share >= least:
        raise DhrdError(
            f"{output_dir} was not written: the graph disagrees with its artifact {what}; "
            f"`min_agreement={least:g}` is required"
        )
    if not apart <= (_EXACT_TOLERANCE if is_exact else 1):  # NaN is not
        raise DhrdError(f"{output_dir} was not written: the graph disagrees with its artifact {what}")
