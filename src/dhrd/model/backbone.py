"""Finding and loading a backbone: any causal language model of transformers, with its tokenizer."""

from __future__ import annotations

import hashlib
import json
import struct
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from dhrd._device import random_state_kept
from dhrd._extras import require
from dhrd._loading import no_loading_report
from dhrd._text import LONGEST_LINE
from dhrd.config import ModelSettings
from dhrd.data.tokens import prepare_tokenizer
from dhrd.errors import ArtifactError, ModelError
from dhrd.lm_loss import LogitTransform
from dhrd.model.fit import REASONING_HEAD, check_special_tokens, check_whole
from dhrd.model.foreign import NO_CODE, NO_PICKLE, Weights, check_directory, foreign
from dhrd.model.location import SCRATCH, file_of, locate

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


_NOT_LOADED = " cannot be loaded as a causal language model: give a hub name, a directory or a .gguf file"
_NO_TOKENIZER = ": no usable tokenizer beside the config: save one there with tokenizer.save_pretrained"
_NOT_A_CONFIG = (
    f" is not a causal language model: give {SCRATCH} and a transformers config in JSON with its model_type, "
    "beside a tokenizer"
)

# Of a config: places, versions, and what is set here and belongs to a run's own settings.
_NO_SHAPE = {"transformers_version", "dtype", "torch_dtype", "quantization_config", "use_cache", "pad_token_id"}

HEAD_NAMES = ("lm_head", "embed_out", "score")
"""Modules that are never quantized nor adapted: the two heads."""


@dataclass(frozen=True, slots=True)
class Backbone:
    """A causal language model and its tokenizer.

    Args:
        model: The `…ForCausalLM`; its `lm_head` is the reasoning head.
        tokenizer: Its tokenizer, which pads on the right and has a padding token.
        name: What it was loaded from.
        lacks_head: Whether the checkpoint had no weights for the LM head, so that it is random.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    name: str
    lacks_head: bool = False


def load_backbone(settings: ModelSettings, *, seed: int = 0) -> Backbone:
    """Load a backbone from the hub, a directory, a GGUF file or an installed package; or draw one.

    Args:
        settings: The model settings.
        seed: Seed of the weights that `scratch:` draws; nothing else here is random.

    Raises:
        ModelError: It is unknown, damaged, not a causal language model, lacks body weights, or its tokenizer cannot
            pad.
        MissingExtra: A GGUF file without `gguf`, quantization without `bitsandbytes`.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    if settings.name_or_path.startswith(SCRATCH):
        return _draw_backbone(settings, seed)
    location = locate(settings.name_or_path)
    if "gguf_file" in location:
        require("gguf", extra="gguf")
        _check_gguf(Path(location["pretrained_model_name_or_path"]) / location["gguf_file"])
    tokenizer = load_tokenizer(settings.name_or_path, settings.revision)
    options: dict[str, Any] = {"dtype": getattr(torch, settings.dtype or "float32")}
    if settings.quantization:
        options["quantization_config"] = _four_bits()
    revision = {"revision": settings.revision} if settings.revision is not None else {}
    name = settings.name_or_path
    with no_loading_report(), loading(location, lambda error: _because(_NOT_LOADED, name, error)):
        config = AutoConfig.from_pretrained(**location, **revision, **NO_CODE)  # first: its kernels are not used
        if "gguf_file" not in location:  # transformers would fail on it while it builds the model
            check_special_tokens(tokenizer, getattr(config.get_text_config(), "vocab_size", sys.maxsize), name)
        model, report = AutoModelForCausalLM.from_pretrained(
            **location, **revision, config=config, output_loading_info=True, **options, **NO_PICKLE
        )
        missing = report["missing_keys"]
        lacks_head = bool(missing) and check_whole(model, missing, _directory(location, revision))
    if "gguf_file" in location:
        _forget_gguf(model)
    if settings.quantization:
        _keep_unpacked(model)
    model.config.pad_token_id = tokenizer.pad_token_id
    model.config.use_cache = False
    return Backbone(model, tokenizer, settings.name_or_path, lacks_head)


def _directory(location: Mapping[str, str], revision: Mapping[str, str]) -> Path:
    """The directory of a checkpoint; of an artifact on the hub, the one its reasoning head was downloaded to."""
    from transformers.utils import cached_file

    name = location["pretrained_model_name_or_path"]
    head = cached_file(name, REASONING_HEAD, **revision, _raise_exceptions_for_missing_entries=False)
    return Path(head).parent if head else Path(name)


def _draw_backbone(settings: ModelSettings, seed: int) -> Backbone:
    """A backbone with random weights, the same for the same seed in every `dtype`."""
    from transformers import AutoConfig, AutoModelForCausalLM

    name = settings.name_or_path
    if settings.quantization or settings.revision:
        raise ModelError(
            f"model.name_or_path: {name} is initialised, not loaded; leave out model.quantization and .revision"
        )
    with foreign(lambda error: _because(_NOT_A_CONFIG, name, error)):
        given = json.loads(file_of(name.removeprefix(SCRATCH), name).read_text(encoding="utf-8"))
        config = AutoConfig.for_model(**given)
        tokenizer = load_tokenizer(name)  # after the config, which it reads too
        _fit_to_tokenizer(config, tokenizer, name)
        with random_state_kept(torch.device("cpu")):
            torch.manual_seed(seed)
            model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        if config.get_text_config().num_hidden_layers < 1:
            raise ValueError("num_hidden_layers must be 1 or more")
        with torch.no_grad():
            model(input_ids=torch.zeros((1, 2), dtype=torch.long))  # head counts that do not divide fail only here
    return Backbone(model.to(getattr(torch, settings.dtype or "float32")), tokenizer, name)


def _fit_to_tokenizer(config: Any, tokenizer: PreTrainedTokenizerBase, name: str) -> None:
    """Take the special tokens from the tokenizer: a family's defaults would be ordinary words of it."""
    if config.vocab_size < len(tokenizer):
        raise ModelError(
            f"{name}: vocab_size is {config.vocab_size}, but the tokenizer has {len(tokenizer)} tokens; raise it"
        )
    for kind in ("bos", "eos", "pad"):
        setattr(config, f"{kind}_token_id", getattr(tokenizer, f"{kind}_token_id"))
    config.use_cache = False


def _forget_gguf(model: PreTrainedModel) -> None:
    """Remove the GGUF settings: the weights were dequantized while loading and are saved as ordinary ones."""
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    for name in ("hf_quantizer", "quantization_method", "is_quantized"):
        if name in vars(model):
            delattr(model, name)


def load_tokenizer(name_or_path: str, revision: str | None = None) -> PreTrainedTokenizerBase:
    """The tokenizer, padding on the right.

    Raises:
        ModelError: It is unknown, or has neither a padding nor an end-of-sequence token.
    """
    from transformers import AutoTokenizer

    problem = _NO_TOKENIZER if name_or_path.startswith(SCRATCH) else _NOT_LOADED
    with foreign(lambda error: _because(problem, name_or_path, error)):
        tokenizer = AutoTokenizer.from_pretrained(
            **locate(name_or_path), **({"revision": revision} if revision else {}), **NO_CODE
        )
    prepare_tokenizer(tokenizer, name_or_path)
    return tokenizer


@contextmanager
def loading(location: Mapping[str, str], describe: Callable[[BaseException], ModelError]) -> Iterator[None]:
    """Load a model's weights from where `locate` found them; a directory is checked first.

    Raises:
        ModelError: Worded by `describe`: an error was raised inside, or a directory has no safetensors, has an adapter,
            or has a config that does not match its weights.
    """
    directory = Path(location["pretrained_model_name_or_path"])
    with foreign(describe):
        try:
            if directory.is_dir() and "gguf_file" not in location:
                check_directory(directory, Weights.of(directory), is_backbone=True)
        except ArtifactError as error:
            raise describe(ArtifactError(str(error).removeprefix(f"{directory}: "))) from error
        yield


def _because(problem: str, name: str, error: BaseException) -> ModelError:
    """A message with the beginning of a library's error, on one line."""
    text = f"model.name_or_path: {name}{problem}"
    reason = " ".join(str(error).split()) or type(error).__name__
    room = max(60, LONGEST_LINE - len(text) - 3)
    return ModelError(f"{text} ({reason if len(reason) <= room else reason[: room - 2] + ' …'})")


def _check_gguf(path: Path) -> None:
    """Compare the file's size with what its header promises; the reader itself fails deep in numpy, after seconds."""
    gguf = require("gguf", extra="gguf")
    size = path.stat().st_size
    try:
        reader = gguf.GGUFReader(path)
        end = max((int(tensor.data_offset) + int(tensor.n_bytes) for tensor in reader.tensors), default=0)
        whole = 0 < end <= size
    except (ValueError, IndexError, KeyError, OverflowError, OSError, struct.error) as error:
        raise ModelError(f"{path}: not a whole GGUF file ({size} bytes): download it again ({error})") from error
    if not whole:
        raise ModelError(f"{path}: the file is cut short: {size} bytes of {end}; download it again")


def _keep_unpacked(model: torch.nn.Module) -> None:
    """Keep bitsandbytes from packing 4-bit weights on a CPU, as it does in evaluation: they take no gradient through.

    It never unpacks them for training, whose gradients would end there without a word (0.50).
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False  # type: ignore[assignment]


def _four_bits() -> Any:
    require("bitsandbytes", extra="qlora")
    from transformers import BitsAndBytesConfig

    has_bf16 = not torch.cuda.is_available() or torch.cuda.is_bf16_supported(including_emulation=False)
    # The default skip list names some heads by their bias only, so both are passed by name.
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16 if has_bf16 else torch.float16,
        llm_int8_skip_modules=list(HEAD_NAMES),
    )


def check_fits(backbone: Backbone, *, uses_lm_head: bool) -> None:
    """Refuse an LM head with random weights if a loss uses it, and special tokens without a row in the embeddings.

    Raises:
        ModelError: Names the token and both sizes, or says that the checkpoint has no LM head.
    """
    num_rows = backbone.model.get_input_embeddings().weight.shape[0]
    check_special_tokens(backbone.tokenizer, num_rows, backbone.name)
    if backbone.lacks_head and uses_lm_head:
        raise ModelError(
            f"model.name_or_path: {backbone.name} has no weights for the reasoning head (a classifier's checkpoint?): "
            "it would start from random ones; give a causal language model, or set loss.reasoning_weight=0 for the "
            "pooled baseline"
        )


def logit_transform(config: Any) -> LogitTransform:
    """What a family does to its LM logits, from its config."""
    text = config.get_text_config()
    scale = 1.0
    if getattr(text, "logit_scale", None) is not None:  # Cohere multiplies
        scale = float(text.logit_scale)
    elif getattr(text, "logits_scaling", None) is not None:  # Granite divides
        scale = 1.0 / float(text.logits_scaling)
    return LogitTransform(scale=scale, soft_cap=getattr(text, "final_logit_softcapping", None))


def config_fingerprint(config: Any) -> str:
    """A hash of what a transformers config says of a model's computation, such as its activation."""
    content = json.dumps(_decisive(config.to_dict()), sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _decisive(value: Any) -> Any:
    """A config without what decides nothing; what is off counts as absent, as for an older library."""
    if isinstance(value, (list, tuple)):
        return [_decisive(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    fields = {str(name): item for name, item in value.items() if item is not None and item is not False}
    return {n: _decisive(item) for n, item in fields.items() if n not in _NO_SHAPE and not n.startswith("_")}
