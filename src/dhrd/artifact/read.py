"""The artifact: one directory that transformers, vLLM and dhrd read as it is. What it holds, and reading it.

Writing it is `artifact/write.py`. A directory without `dhrd.json` is unfinished and no reader takes it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from dhrd._temporary import is_temporary
from dhrd._text import shown
from dhrd._versions import library_versions
from dhrd.artifact.manifest import Kind, Manifest, problems_of
from dhrd.config.schema import Pooling
from dhrd.data.records import LabelSet
from dhrd.data.sequence import InputEncoder, SequenceTemplate
from dhrd.data.templates import InputTemplate
from dhrd.data.tokenizer import prepare_tokenizer
from dhrd.errors import ArtifactError, UserError
from dhrd.model.foreign import HERE, NO_PICKLE, Weights, check_directory, check_sizes, read_json, reading
from dhrd.model.heads import ClassificationHead

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


MANIFEST = "dhrd.json"
SCORE = "score.weight"
FORMAT_VERSION = 1


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
    pooling: Pooling = "last"
    task: str | None = None
    sequence: SequenceTemplate = field(default_factory=SequenceTemplate)
    calibration: Mapping[str, float] = field(default_factory=lambda: {"temperature": 1.0})
    training: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=library_versions)


def to_manifest(info: ArtifactInfo) -> dict[str, Any]:
    """What dhrd.json holds."""
    labels = {
        "names": list(info.labels.names),
        "words": list(info.labels.words),
        "multi_label": info.labels.multi_label,
        "ordered": info.labels.ordered,
    }
    return {"format_version": FORMAT_VERSION, **asdict(info), "labels": labels}


def read_info(directory: str | Path) -> ArtifactInfo:
    """Read and check `dhrd.json`.

    Raises:
        ArtifactError: The directory is missing, unfinished, not an artifact, of a newer format, or a field is wrong.
    """
    directory = Path(directory).expanduser()
    path = directory / MANIFEST
    if not os.path.isdir(directory):  # no error over a name that the system refuses
        raise ArtifactError(f"{directory}: no such directory; give one that `dhrd train` wrote")
    if not path.is_file():
        unfinished = (directory / "checkpoints").is_dir() or any(map(is_temporary, directory.iterdir()))
        raise ArtifactError(
            f"{directory}: training is not finished (no {MANIFEST}); go on with dhrd train --checkpoint {directory}"
            if unfinished
            else f"{directory}: not a dhrd artifact (no {MANIFEST}); give a directory that `dhrd train` wrote"
        )
    found = read_json(path)
    if type(found.get("format_version")) is int and found["format_version"] > FORMAT_VERSION:
        raise ArtifactError(
            f"{path}: format {shown(found['format_version'])} is newer than this dhrd reads ({FORMAT_VERSION}); "
            "upgrade dhrd"
        )
    try:
        with reading(path):
            InputTemplate(str(found.get("input_template", "")), setting="input_template")
        return _info_of(Manifest.model_validate(found))
    except (ValidationError, UserError) as error:
        what = problems_of(error) if isinstance(error, ValidationError) else str(error)
        raise ArtifactError(f"{path}: damaged ({what}); download or write the artifact again") from error


def _info_of(manifest: Manifest) -> ArtifactInfo:
    fields = manifest.model_dump(exclude={"format_version"}, exclude_unset=True)
    labels, sequence = fields.pop("labels"), fields.pop("sequence", {})
    return ArtifactInfo(
        labels=LabelSet(tuple(labels["names"]), tuple(labels["words"]), labels["multi_label"], _ordered(labels)),
        sequence=SequenceTemplate(**sequence),
        **fields,
    )


def _ordered(labels: Mapping[str, Any]) -> bool:
    """Whether the labels are in their author's order. Older artifacts do not say: what is not sorted was given."""
    return bool(labels.get("ordered", labels["names"] != sorted(labels["names"])))


def load_input_encoder(directory: str | Path, info: ArtifactInfo) -> InputEncoder:
    """What turns rows into the tokens that the artifact was trained on; its `tokenizer` is the artifact's.

    Raises:
        ArtifactError: A file of the tokenizer is missing or damaged.
        ConfigError: The input template is not valid.
    """
    from transformers import AutoConfig, AutoTokenizer

    path = Path(directory) / "tokenizer.json"
    with reading(path):
        config = AutoConfig.from_pretrained(directory, **HERE)
        tokenizer = AutoTokenizer.from_pretrained(directory, config=config, **HERE)
        if not any((path.parent / name).is_file() for name in tokenizer.vocab_files_names.values()):
            raise FileNotFoundError("no such file")  # some families begin with an empty vocabulary then
        prepare_tokenizer(tokenizer, str(directory))
        _check_tokens(tokenizer, config.get_text_config().vocab_size)
    if info.chat:
        with reading(path.parent, "its chat template fails"):
            InputTemplate(chat=True).render({"input_text": "a"}, tokenizer=tokenizer)
    return input_encoder(tokenizer, info)


def _check_tokens(tokenizer: PreTrainedTokenizerBase, vocab_size: int) -> None:
    """Every ordinary token has an embedding, and so has what pads; a backbone's tokenizer may have special ones more.

    Raises:
        ValueError: One has none.
    """
    special = {*tokenizer.added_tokens_decoder} - {tokenizer.pad_token_id}
    last = max({*tokenizer.get_vocab().values()} - special)
    if last >= vocab_size or not tokenizer("a")["input_ids"]:
        raise ValueError(f"it has token {last}, config.json {vocab_size} tokens")


def input_encoder(tokenizer: PreTrainedTokenizerBase, info: ArtifactInfo, *, strict: bool = False) -> InputEncoder:
    """The encoder of an artifact's inputs, with a tokenizer that is loaded already; see `InputEncoder`."""
    return InputEncoder(
        tokenizer=tokenizer,
        template=InputTemplate(info.input_template, chat=info.chat),
        max_input_tokens=info.max_input_tokens,
        mend_pad_ending=True,
        strict=strict,
    )


def load_config(directory: Path, weights: Weights, info: ArtifactInfo) -> Any:
    """The artifact's config.json, as a config of transformers; its sizes are those of the weights.

    Raises:
        ArtifactError: It is missing or damaged, or does not fit the weights or `dhrd.json`.
    """
    from transformers import AutoConfig

    path = directory / "config.json"
    check_directory(directory, weights)
    with reading(path):
        config = AutoConfig.from_pretrained(directory, **HERE)
        check_sizes(path, config, weights)
        names = dict(enumerate(info.labels.names))
        if info.kind == "sequence_classifier" and len(config.id2label) == len(names) and config.id2label != names:
            raise ValueError(f"id2label names other labels than {MANIFEST}")  # of another number: the head tells
    return config


def load_model(kind: Any, config: Any, weights: Weights, dtype: torch.dtype | str) -> tuple[PreTrainedModel, set[str]]:
    """A model of transformers with the artifact's weights, on the CPU.

    Args:
        kind: Its class.
        config: Of `load_config`.
        weights: What fills it; `score.weight` alone may find no place in it.
        dtype: Or "auto".

    Returns:
        (model, names of its tensors that the weights do not have).

    Raises:
        ArtifactError: Weights and config do not fit.
    """
    with reading(weights.path, "the weights cannot be loaded, or do not fit config.json"):
        model, found = kind.from_pretrained(
            None, config=config, state_dict=weights.load(), dtype=dtype, output_loading_info=True, **NO_PICKLE
        )
        if odd := {*found["mismatched_keys"], *found["unexpected_keys"]} - {SCORE}:
            raise ValueError(f"{len(odd)} tensors have no place, for example {min(map(str, odd))}")
    return model, set(found["missing_keys"])


def load_head(directory: Path, info: ArtifactInfo) -> ClassificationHead:
    """The head of a `dhrd_classifier`.

    Raises:
        ArtifactError: head.safetensors is missing or does not fit.
    """
    path = directory / "head.safetensors"
    with reading(path, "missing or damaged"):
        state = load_file(path)
        num_labels, width = state[SCORE].shape
        head = ClassificationHead(width, num_labels, kind=info.head, dropout=0.0)
        head.load_state_dict(state)
    return head


def load_reasoning_model(directory: str | Path) -> PreTrainedModel:
    """The artifact as a causal language model: backbone and reasoning head, for decoding rationales.

    Raises:
        ArtifactError: The directory is not an artifact, or damaged.
    """
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING

    directory, info = Path(directory), read_info(directory)
    weights = Weights.of(directory)
    config = load_config(directory, weights, info)
    with reading(directory / "config.json", "no causal language model"):
        kind = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    model, missing = load_model(kind, config, weights, "auto")
    missing -= _fill_reasoning_head(model, directory / "reasoning_head.safetensors")
    if missing:
        raise ArtifactError(f"{weights.path}: weights are missing ({min(missing)}); train again")
    with reading(directory / "generation_config.json"):
        _configure_generation(model, directory)
    return model


def _fill_reasoning_head(model: PreTrainedModel, path: Path) -> set[str]:
    """Load an LM head that is not tied to the embeddings; gives the names of its tensors in the model."""
    if not path.is_file():
        return set()
    head = model.get_output_embeddings()
    prefix = next(name for name, module in model.named_modules() if module is head)
    with reading(path, "does not fit the model, or is damaged"):
        state = {name.rpartition(".")[2]: tensor for name, tensor in load_file(path).items()}
        head.load_state_dict(state)  # strict, shapes too
    return {f"{prefix}.{name}" for name in state}


def _configure_generation(model: PreTrainedModel, directory: Path) -> None:
    """Take generation_config.json, where there is one, once it is known to decode one token a row."""
    from transformers import GenerationConfig

    if (directory / "generation_config.json").is_file():
        model.generation_config = GenerationConfig.from_pretrained(directory, local_files_only=True)
    for name in ("num_beams", "num_return_sequences", "num_beam_groups"):
        if (getattr(model.generation_config, name, None) or 1) != 1:
            raise ValueError(f"{name} must be 1")
    rows = torch.zeros((2, 1), dtype=torch.long)
    found = model.generate(input_ids=rows, attention_mask=torch.ones_like(rows), max_new_tokens=1)
    if tuple(found.shape) != (2, 2):
        raise ValueError("it does not decode one token a row")
