"""Chain-of-thought decoding with the reasoning head: what DHRD makes unnecessary, kept to measure against."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from dhrd.data.records import LabelSet
from dhrd.data.sequence import EncodedInput, InputEncoder, SequenceTemplate
from dhrd.errors import ConfigError
from dhrd.model.artifact import ArtifactInfo, load_input_encoder, load_reasoning_model, read_info
from dhrd.model.device import check_device
from dhrd.model.generation import Stop, generate

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

logger = logging.getLogger("dhrd")


@dataclass(frozen=True, slots=True)
class Decoded:
    """One decoded row.

    Args:
        rationale: What the reasoning head wrote before its answer.
        label: The label it named (a list of them for multi-label), or None where the answer cannot be read.
        num_tokens: New tokens, without eos.
    """

    rationale: str
    label: str | list[str] | None
    num_tokens: int


class Reasoner:
    """An artifact's reasoning head: it answers in words.

    Args:
        model: Backbone and reasoning head.
        encoder: Encodes inputs as the classifier reads them; it has the tokenizer.
        info: The labels and the markers of training.
    """

    def __init__(self, model: PreTrainedModel, encoder: InputEncoder, info: ArtifactInfo) -> None:
        self.model = model.eval()
        self.encoder = encoder
        self.info = info

    @classmethod
    def from_pretrained(
        cls,
        directory: str | Path,
        *,
        device: str | torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> Reasoner:
        """Load any artifact, one without a classifier too.

        Args:
            directory: What `dhrd train` wrote.
            device: None: a GPU where there is one.
            dtype: None: as saved.

        Raises:
            ArtifactError: The directory is not a finished artifact, or damaged.
            ConfigError: The device is not there.
        """
        info = read_info(directory)
        if isinstance(device, str):
            check_device(device)
        device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        if info.training.get("reasoning_weight") == 0:
            logger.warning("%s: trained with loss.reasoning_weight: 0, its reasoning head learned nothing", directory)
        model = load_reasoning_model(directory).to(device=device, dtype=dtype)
        return cls(model, load_input_encoder(directory, info), info)

    def decode(self, inputs: Sequence[EncodedInput], **options: Any) -> list[Decoded]:
        """Let the reasoning head write a rationale and an answer for each input.

        Args:
            inputs: Of `encoder`.
            **options: As `decode`'s: `max_new_tokens`, `temperature`, `top_p`, `batch_size`, `seed`, `stop_at_answer`.

        Raises:
            ConfigError: An input and `max_new_tokens` are over the model's context.
        """
        return decode(
            self.model, self.encoder.tokenizer, inputs, self.info.labels, template=self.info.sequence, **options
        )


def decode(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    inputs: Sequence[EncodedInput],
    labels: LabelSet,
    *,
    template: SequenceTemplate | None = None,
    max_new_tokens: int = 500,
    temperature: float = 0.0,
    top_p: float = 1.0,
    batch_size: int = 16,
    seed: int = 0,
    stop_at_answer: bool = True,
) -> list[Decoded]:
    """Let the reasoning head write a rationale and an answer for each input.

    Args:
        model: `load_reasoning_model(DIR)`, or any causal language model.
        tokenizer: Its tokenizer.
        inputs: Encoded inputs, as the classifier reads them.
        labels: The label set, whose words the answer is read by.
        template: The markers of training.
        max_new_tokens: The paper: 500.
        temperature: 0: greedy. The paper: 0.1.
        top_p: The paper: 0.7.
        batch_size: Rows decoded together.
        seed: Of sampling.
        stop_at_answer: End a row once the line with its answer is written. A trained head ends there by itself; any
            other goes on, and what it writes then is not read.

    Raises:
        ConfigError: An input and `max_new_tokens` are over the model's context, or sampling is out of its range.
    """
    if temperature < 0 or not 0 < top_p <= 1:
        raise ConfigError(f"--temperature {temperature} --top-p {top_p}: give 0 or more, and above 0 up to 1")
    template = template or SequenceTemplate()
    prompts = encode_prompts(tokenizer, inputs, template)
    if prompts:
        _check_context(model, max(map(len, prompts)), max_new_tokens)
    new = generate(
        model,
        tokenizer,
        prompts,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_p=top_p,
        batch_size=batch_size,
        seed=seed,
        stop=_answer_is_written(tokenizer, template) if stop_at_answer else None,
    )
    texts = [tokenizer.decode(ids, skip_special_tokens=True) for ids in new]
    return [read_decoded(text, len(ids), labels, template) for text, ids in zip(texts, new, strict=True)]


def encode_prompts(
    tokenizer: PreTrainedTokenizerBase,
    inputs: Sequence[EncodedInput],
    template: SequenceTemplate | None = None,
) -> list[list[int]]:
    """Each input's tokens and the marker after which the rationale begins."""
    marker = tokenizer((template or SequenceTemplate()).reason.rstrip(" "), add_special_tokens=False)["input_ids"]
    return [[*item.input_ids, *marker] for item in inputs]


def _check_context(model: PreTrainedModel, longest: int, max_new_tokens: int) -> None:
    context = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if context is not None and longest + max_new_tokens > context:
        room = context - longest
        hint = f"give --max-new-tokens {room} or less" if room > 0 else "shorten the inputs"
        raise ConfigError(
            f"max_new_tokens: {max_new_tokens} after an input of {longest} tokens is over the model's context "
            f"({context}): {hint}"
        )


def _answer_is_written(tokenizer: PreTrainedTokenizerBase, template: SequenceTemplate) -> Stop:
    """Ends a row with the line break after its answer: `read_decoded` takes nothing from beyond it."""

    @cache
    def breaks_line(token: int) -> bool:  # so that all other steps cost nothing
        return "\n" in tokenizer.decode([token])

    def is_written(new: list[int]) -> bool:
        if not breaks_line(new[-1]):
            return False
        _, _, answer = _parts(tokenizer.decode(new, skip_special_tokens=True), template)
        return "\n" in answer.lstrip()

    return is_written


def _parts(text: str, template: SequenceTemplate) -> tuple[str, str, str]:
    """Rationale, marker and answer; the last two are empty where there is no marker."""
    return text.partition(template.answer.rstrip(" "))


def read_decoded(text: str, num_tokens: int, labels: LabelSet, template: SequenceTemplate | None = None) -> Decoded:
    """What was written after a prompt, as rationale and answer."""
    rationale, found, answer = _parts(text, template or SequenceTemplate())
    return Decoded(rationale.strip(), parse_answer(answer, labels) if found else None, num_tokens)


def parse_answer(answer: str, labels: LabelSet) -> str | list[str] | None:
    """The label that an answer names, or the list of them for multi-label: its first line, read by the labels' words.

    None where the line holds anything else.
    """
    found = labels.read(answer)
    if found is None:
        return None
    names = [labels.names[index] for index in found]
    return names if labels.multi_label else names[0]
