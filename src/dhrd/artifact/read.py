"""Reading an artifact: its tokenizer, config and weights, as a transformers model."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file

from dhrd.artifact.digests import HEAD, TOKENIZER, WEIGHTS, file_digests
from dhrd.artifact.info import MANIFEST, SCORE, UNBIND, ArtifactInfo, read_info
from dhrd.data.inputs import InputEncoder
from dhrd.data.templates import InputTemplate
from dhrd.data.tokens import prepare_tokenizer
from dhrd.errors import ArtifactError
from dhrd.model.fit import REASONING_HEAD, put_reasoning_head
from dhrd.model.foreign import HERE, NO_PICKLE, Weights, check_directory, check_sizes, check_tables, reading
from dhrd.model.heads import ClassificationHead

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def check_parts(directory: Path, info: ArtifactInfo, *patterns: str) -> None:
    """Refuse files that are not those which the artifact was written with, such as another training's.

    Raises:
        ArtifactError: One differs from its digest in `dhrd.json`, is missing, or was not there.
    """
    if not info.digests:  # an older dhrd's, or someone changed a file and said so
        return
    written = {name: own for name, own in info.digests.items() if any(fnmatchcase(name, p) for p in patterns)}
    found = file_digests(directory, patterns)
    if odd := sorted(name for name in written | found if found.get(name) != written.get(name)):
        what = "is missing" if odd[0] not in found else f"does not belong to {MANIFEST} and the files beside it"
        raise ArtifactError(f"{directory}: {odd[0]} {what}: copy the artifact again; {UNBIND}")


def load_input_encoder(directory: str | Path, info: ArtifactInfo) -> InputEncoder:
    """Load the encoder that turns rows into tokens as in training; its `tokenizer` is the artifact's.

    Raises:
        ArtifactError: A file of the tokenizer is missing, damaged, or another's.
        ConfigError: The input template is not valid.
    """
    from transformers import AutoConfig, AutoTokenizer

    path = Path(directory) / "tokenizer.json"
    with reading(path):
        config = AutoConfig.from_pretrained(directory, **HERE)
        tokenizer = AutoTokenizer.from_pretrained(directory, config=config, **HERE)
        if not any((path.parent / name).is_file() for name in tokenizer.vocab_files_names.values()):
            raise FileNotFoundError("no such file")  # some families would otherwise start with an empty vocabulary
        prepare_tokenizer(tokenizer, str(directory))
        _check_tokens(tokenizer, config.get_text_config().vocab_size)
    if info.chat:
        with reading(path.parent, "its chat template fails"):
            InputTemplate(chat=True).render({"input_text": "a"}, tokenizer=tokenizer)
    check_parts(path.parent, info, *TOKENIZER)
    return input_encoder(tokenizer, info)


def _check_tokens(tokenizer: PreTrainedTokenizerBase, vocab_size: int) -> None:
    """Check that every ordinary token and the padding token has an embedding; extra special tokens are allowed.

    Raises:
        ValueError: A token has no embedding.
    """
    special = {*tokenizer.added_tokens_decoder} - {tokenizer.pad_token_id}
    last = max({*tokenizer.get_vocab().values()} - special)
    if last >= vocab_size or not tokenizer("a")["input_ids"]:
        raise ValueError(f"it has token {last}, config.json {vocab_size} tokens")


def input_encoder(tokenizer: PreTrainedTokenizerBase, info: ArtifactInfo, *, strict: bool = False) -> InputEncoder:
    """Create the encoder of an artifact's inputs from a loaded tokenizer; see `InputEncoder`."""
    return InputEncoder(
        tokenizer=tokenizer,
        template=InputTemplate(info.input_template, chat=info.chat, is_learned=True),
        max_input_tokens=info.max_input_tokens,
        mend_pad_ending=True,
        strict=strict,
    )


def load_stock_config(directory: Path, weights: Weights, info: ArtifactInfo) -> Any:
    """Load config.json as a transformers config, checked against the sizes of the weights.

    Raises:
        ArtifactError: It is missing or damaged, or it, the weights and `dhrd.json` do not belong together.
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
    check_parts(directory, info, *WEIGHTS)
    return config


def load_model(kind: Any, config: Any, weights: Weights, dtype: torch.dtype | str) -> tuple[PreTrainedModel, set[str]]:
    """Load a transformers model with the artifact's weights, on the CPU.

    Args:
        kind: The model's class.
        config: The config, from `load_stock_config`.
        weights: The weights; only `score.weight` may be unused.
        dtype: The data type, or "auto".

    Returns:
        (model, names of tensors missing from the weights).

    Raises:
        ArtifactError: Weights and config do not fit.
    """
    check_tables(weights.path.parent / "config.json", kind, config, weights)
    with reading(weights.path, "the weights cannot be loaded, or do not fit config.json"):
        model, found = kind.from_pretrained(
            None, config=config, state_dict=weights.load(), dtype=dtype, output_loading_info=True, **NO_PICKLE
        )
        if odd := {*found["mismatched_keys"], *found["unexpected_keys"]} - {SCORE}:
            raise ValueError(f"{len(odd)} unexpected tensors, for example {min(map(str, odd))}")
    return model, set(found["missing_keys"])


def load_head(directory: Path, info: ArtifactInfo) -> ClassificationHead:
    """Load the head of a `dhrd_classifier`.

    Raises:
        ArtifactError: head.safetensors is missing, does not fit, or is another's.
    """
    path = directory / HEAD
    with reading(path, "missing or damaged"):
        state = load_file(path)
        num_labels, width = state[SCORE].shape
        head = ClassificationHead(width, num_labels, kind=info.head, dropout=0.0)
        head.load_state_dict(state)
    check_parts(directory, info, HEAD)
    return head


def load_reasoning_model(directory: str | Path) -> PreTrainedModel:
    """Load the artifact as a causal language model (backbone and reasoning head), for decoding rationales.

    Raises:
        ArtifactError: The directory is not an artifact, or damaged.
    """
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING

    directory, info = Path(directory), read_info(directory)
    weights = Weights.of(directory)
    config = load_stock_config(directory, weights, info)
    with reading(directory / "config.json", "not a causal language model"):
        kind = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    model, missing = load_model(kind, config, weights, "auto")
    if (directory / REASONING_HEAD).is_file():
        check_parts(directory, info, REASONING_HEAD)
        missing -= put_reasoning_head(model, directory / REASONING_HEAD)
    if missing:
        raise ArtifactError(f"{weights.path}: weights are missing ({min(missing)}); train again")
    with reading(directory / "generation_config.json"):
        _configure_generation(model, directory)
    return model


def _configure_generation(model: PreTrainedModel, directory: Path) -> None:
    """Use generation_config.json, if there is one, after checking that it decodes one token per row and step."""
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
