"""The artifact: one directory that transformers, vLLM and dhrd read as it is. What it holds, and reading it.

Writing it is `model/save.py`. A directory without `dhrd.json` is unfinished and no reader takes it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from dhrd.data.progress import no_foreign_bars, no_loading_report
from dhrd.data.records import LabelSet
from dhrd.data.sequence import InputEncoder, SequenceTemplate
from dhrd.data.templates import InputTemplate
from dhrd.data.tokenizer import prepare_tokenizer
from dhrd.errors import ArtifactError
from dhrd.model.heads import ClassificationHead

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


MANIFEST = "dhrd.json"
FORMAT_VERSION = 1
Kind = Literal["sequence_classifier", "dhrd_classifier", "causal_lm", "onnx"]


@dataclass(frozen=True, kw_only=True)
class ArtifactInfo:
    """What `dhrd.json` tells beyond what the stock files do.

    Args:
        kind: `sequence_classifier`: stock, loaded by transformers and vLLM. `dhrd_classifier`: an `mlp` head or `mean`
            pooling, in head.safetensors. `causal_lm`: a reasoning-only student without a classifier. `onnx`: what
            `dhrd export` wrote, for ONNX Runtime.
        labels: The label set.
        input_template: Jinja2 over a row's columns.
        columns: Our field -> the column of the training rows, where another.
        chat: Whether the tokenizer's chat template wraps it.
        max_input_tokens: Longer inputs are shortened.
        max_sequence_tokens: Limit of the training sequences.
        head: `linear` or `mlp`.
        pooling: `last` or `mean`.
        task: SuperGLUE task, for its official metrics.
        sequence: The markers of rationale and answer.
        calibration: The temperature folded into the head; 1 as trained.
        training: Summary of the run; `selected_on` names rows that a choice was made on.
        versions: Libraries that wrote it.
    """

    kind: Kind
    labels: LabelSet
    input_template: str = "{{ input_text }}"
    columns: Mapping[str, str] = field(default_factory=dict)
    chat: bool = False
    max_input_tokens: int = 512
    max_sequence_tokens: int = 1024
    head: Literal["linear", "mlp"] = "linear"
    pooling: Literal["last", "mean"] = "last"
    task: str | None = None
    sequence: SequenceTemplate = field(default_factory=SequenceTemplate)
    calibration: Mapping[str, float] = field(default_factory=lambda: {"temperature": 1.0})
    training: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=lambda: library_versions())


def library_versions() -> dict[str, str]:
    """Versions of what decides an artifact's numbers."""
    return {name: _version(name) for name in ("dhrd", "torch", "transformers", "tokenizers", "peft", "safetensors")}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # on the path without having been installed, as a checkout of ours may be
        return "not installed"


def to_manifest(info: ArtifactInfo) -> dict[str, Any]:
    """What dhrd.json holds."""
    labels = {
        "names": list(info.labels.names),
        "words": list(info.labels.words),
        "multi_label": info.labels.multi_label,
    }
    return {"format_version": FORMAT_VERSION, **asdict(info), "labels": labels}


def read_info(directory: str | Path) -> ArtifactInfo:
    """Read `dhrd.json`.

    Raises:
        ArtifactError: The directory is missing, unfinished, not an artifact, or of a newer format.
    """
    directory = Path(directory)
    path = directory / MANIFEST
    if not directory.is_dir():
        raise ArtifactError(f"{directory}: no such directory; give one that `dhrd train` wrote")
    if not path.is_file():
        unfinished = (directory / "checkpoints").is_dir() or (directory / ".partial").is_dir()
        raise ArtifactError(
            f"{directory}: training is not finished (no {MANIFEST}); go on with dhrd train --checkpoint {directory}"
            if unfinished
            else f"{directory}: not a dhrd artifact (no {MANIFEST}); give a directory that `dhrd train` wrote"
        )
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        found = manifest.pop("format_version")
        if found > FORMAT_VERSION:
            raise ArtifactError(
                f"{path}: format {found} is newer than this dhrd reads ({FORMAT_VERSION}); upgrade dhrd"
            )
        labels = manifest.pop("labels")
        return ArtifactInfo(
            labels=LabelSet(tuple(labels["names"]), tuple(labels["words"]), labels["multi_label"]),
            sequence=SequenceTemplate(**manifest.pop("sequence")),
            **manifest,
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{path}: damaged ({error}); write the artifact again") from error


def load_input_encoder(directory: str | Path, info: ArtifactInfo) -> InputEncoder:
    """What turns rows into the tokens that the artifact was trained on; its `tokenizer` is the artifact's.

    Raises:
        ConfigError: The input template is not valid.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(directory)
    prepare_tokenizer(tokenizer, str(directory))
    return input_encoder(tokenizer, info)


def input_encoder(tokenizer: PreTrainedTokenizerBase, info: ArtifactInfo, *, strict: bool = False) -> InputEncoder:
    """The encoder of an artifact's inputs, with a tokenizer that is loaded already; see `InputEncoder`."""
    return InputEncoder(
        tokenizer=tokenizer,
        template=InputTemplate(info.input_template, chat=info.chat),
        max_input_tokens=info.max_input_tokens,
        mend_pad_ending=True,
        strict=strict,
    )


def load_head(directory: Path, info: ArtifactInfo) -> ClassificationHead:
    """The head of a `dhrd_classifier`.

    Raises:
        ArtifactError: head.safetensors is missing or does not fit.
    """
    path = directory / "head.safetensors"
    try:
        state = load_file(path)
        num_labels, width = state["score.weight"].shape
        head = ClassificationHead(width, num_labels, kind=info.head, dropout=0.0)
        head.load_state_dict(state)
    except (OSError, SafetensorError, KeyError, RuntimeError) as error:
        raise ArtifactError(f"{path}: missing or damaged ({error}); train again") from error
    return head


def load_reasoning_model(directory: str | Path) -> PreTrainedModel:
    """The artifact as a causal language model: backbone and reasoning head, for decoding rationales.

    Raises:
        ArtifactError: The directory is not an artifact, or damaged.
    """
    from transformers import AutoModelForCausalLM

    read_info(directory)
    path = Path(directory) / "reasoning_head.safetensors"
    try:  # score.weight is left over, an untied LM head comes from its own file
        with no_foreign_bars(), no_loading_report():
            model = AutoModelForCausalLM.from_pretrained(directory, dtype="auto")
        state = load_file(path) if path.is_file() else {}
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise ArtifactError(f"{directory}: the weights cannot be loaded: {str(error).splitlines()[0]}") from error
    if state:
        weight = next(tensor for name, tensor in state.items() if name.endswith("weight"))
        head = model.get_output_embeddings()
        with torch.no_grad():
            head.weight.copy_(weight)
            for name, tensor in state.items():
                if name.endswith("bias"):
                    head.bias.copy_(tensor)
    return model
