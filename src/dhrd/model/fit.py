"""Whether a checkpoint, its tokenizer and the sequences fit together, checked before training."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dhrd._text import shown
from dhrd.errors import ArtifactError, ModelError
from dhrd.model.foreign import reading

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

REASONING_HEAD = "reasoning_head.safetensors"
"""Where an artifact keeps an LM head that is not tied to the embeddings."""


def check_whole(model: PreTrainedModel, missing: Collection[str], directory: Path) -> bool:
    """Refuse a body with random weights, and load an artifact's LM head from its own file.

    Returns:
        Whether the LM head is random.
    """
    head = model.get_output_embeddings()
    of_head = {name for name, parameter in model.named_parameters() if any(parameter is p for p in head.parameters())}
    if absent := sorted(set(missing) - of_head):
        raise ModelError(
            f"model.name_or_path: {directory} lacks {len(absent)} of the model's weights, for example {absent[0]}, "
            "which would start from random ones; give a whole checkpoint of a causal language model"
        )
    if missing and (directory / REASONING_HEAD).is_file():
        try:
            put_reasoning_head(model, directory / REASONING_HEAD)
        except ArtifactError as error:
            raise ModelError(str(error)) from error
        return False
    return bool(missing)


def put_reasoning_head(model: PreTrainedModel, path: Path) -> set[str]:
    """Put the LM head in an artifact's file, whatever its family calls it, into a model.

    Returns:
        The names of its tensors in the model.

    Raises:
        ArtifactError: The file is damaged, or belongs to another model.
    """
    from safetensors.torch import load_file  # loads torch

    with reading(path, "damaged, or of another model"):
        state = {name.rpartition(".")[2]: tensor for name, tensor in load_file(path).items()}
        model.get_output_embeddings().load_state_dict(state)  # strict, shapes too
    return lm_head_names(model)


def lm_head_names(model: PreTrainedModel) -> set[str]:
    """The names of the LM head's tensors in a model."""
    head = model.get_output_embeddings()
    prefix = next(name for name, module in model.named_modules() if module is head)
    return {f"{prefix}.{name}" for name in head.state_dict()}


def check_special_tokens(tokenizer: PreTrainedTokenizerBase, num_rows: int, name: str) -> None:
    """Refuse a tokenizer with special tokens that have no row in the embeddings.

    Raises:
        ModelError: Names the token and both sizes.
    """
    for kind in ("pad", "eos", "bos"):
        index = getattr(tokenizer, f"{kind}_token_id")
        if index is not None and index >= num_rows:
            raise ModelError(
                f"{name}: the tokenizer's {kind} token {shown(getattr(tokenizer, f'{kind}_token'))} is number {index}, "
                f"but the embeddings have {num_rows} rows; set tokenizer.{kind}_token to a token that they have, or "
                "resize them (model.resize_token_embeddings), and save both again"
            )


def check_context(config: Any, num_tokens: int) -> None:
    """Refuse sequences that are too long for the backbone's positions, or that would break one pass = two passes.

    Args:
        config: The backbone's config.
        num_tokens: Length of the longest sequence.

    Raises:
        ModelError: It exceeds the context, or the original context of a rotary scaling that depends on
            the longest position in the batch: h[last token of x] would then depend on the rationale.
    """
    text = config.get_text_config()
    context = getattr(text, "max_position_embeddings", None)
    rope = getattr(text, "rope_parameters", None) or getattr(text, "rope_scaling", None) or {}
    kinds = [rope, *(value for value in rope.values() if isinstance(value, dict))]  # some: one per layer type
    for kind in kinds:
        if kind.get("rope_type") in ("longrope", "dynamic"):
            original = kind.get("original_max_position_embeddings") or context
            if original is not None and num_tokens > original:
                raise ModelError(
                    f"sequences of {num_tokens} tokens are over the original context ({original}) of this backbone's "
                    f"{kind['rope_type']} positions, whose scaling depends on the longest row of a batch; lower "
                    f"data.max_sequence_tokens to {original}"
                )
    if context is not None and num_tokens > context:
        raise ModelError(
            f"sequences of {num_tokens} tokens are over the backbone's context ({context}); lower "
            f"data.max_sequence_tokens to {context}, and data.max_input_tokens so far that the answer fits too"
        )
