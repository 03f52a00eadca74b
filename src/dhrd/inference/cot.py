"""Chain-of-thought decoding with the reasoning head: what DHRD makes unnecessary, kept to measure against."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from dhrd._device import check_loaded, find_device
from dhrd._loading import no_foreign_bars
from dhrd.artifact.info import ArtifactInfo, read_info
from dhrd.artifact.read import load_input_encoder, load_reasoning_model
from dhrd.data.inputs import EncodedInput, InputEncoder
from dhrd.data.reading import HeadReader
from dhrd.data.records import LabelSet
from dhrd.data.sequence import SequenceTemplate
from dhrd.errors import ConfigError
from dhrd.inference.decoding import Decoded, Decoding
from dhrd.model.generation import Stop, generate

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

logger = logging.getLogger("dhrd")

_DECODING = threading.Lock()  # one thread at a time: the random numbers that it draws from are the process's


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
        cls, directory: str | Path, *, device: str | int | torch.device | None = None, dtype: torch.dtype | None = None
    ) -> Reasoner:
        """Load any artifact, one without a classifier too.

        Args:
            directory: What `dhrd train` wrote.
            device: None: a GPU where there is one; -1: the CPU.
            dtype: None: as saved.

        Raises:
            ArtifactError: The directory is not a finished artifact, or damaged.
            ConfigError: The device is not there.
        """
        directory, device = Path(directory).expanduser(), find_device(device)
        info = read_info(directory)
        if not info.reasons:
            logger.warning("%s: trained with loss.reasoning_weight: 0, its reasoning head learned nothing", directory)
        with no_foreign_bars():
            model = load_reasoning_model(directory)
            encoder = load_input_encoder(directory, info)
        check_loaded(model, directory)
        return cls(model.to(device=device, dtype=dtype), encoder, info)

    def decode(self, inputs: Sequence[EncodedInput], decoding: Decoding) -> list[Decoded]:
        """As `Decoder.decode`, of inputs of `encoder`; one thread at a time."""
        decoder = TransformersDecoder(self.model, self.encoder.tokenizer, self.info.labels, self.info.sequence)
        with _DECODING:
            return decoder.decode(inputs, decoding)


@dataclass(frozen=True, slots=True)
class TransformersDecoder:
    """A causal language model that is decoded by transformers.

    Args:
        model: `load_reasoning_model(DIR)`, or any causal language model.
        tokenizer: Its tokenizer.
        labels: The label set, whose words the answer is read by.
        template: The markers of training.
        stop_at_answer: End a row once the line with its answer is written. A trained head ends there by itself; any
            other goes on, and what it writes then is not read.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    labels: LabelSet
    template: SequenceTemplate = field(default_factory=SequenceTemplate)
    stop_at_answer: bool = True

    def decode(self, inputs: Sequence[EncodedInput], decoding: Decoding) -> list[Decoded]:
        """As `Decoder.decode`, of inputs that are encoded as the classifier reads them."""
        prompts = encode_prompts(self.tokenizer, inputs, self.template)
        if prompts:
            _check_context(self.model, max(map(len, prompts)), decoding.max_new_tokens)
        reader = HeadReader.of(self.labels, self.template, self.tokenizer)
        new_ids = generate(
            self.model,
            self.tokenizer,
            prompts,
            max_new_tokens=decoding.max_new_tokens,
            temperature=decoding.temperature,
            top_p=decoding.top_p,
            batch_size=decoding.batch_size,
            seed=decoding.seed,
            stop=_answer_is_written(self.tokenizer, reader) if self.stop_at_answer else None,
        )
        texts = [self.tokenizer.decode(ids, skip_special_tokens=True) for ids in new_ids]
        return [read_decoded(text, len(ids), reader) for text, ids in zip(texts, new_ids, strict=True)]


def encode_prompts(
    tokenizer: PreTrainedTokenizerBase, inputs: Sequence[EncodedInput], template: SequenceTemplate
) -> list[list[int]]:
    """Each input's tokens and the marker after which the reasoning head writes."""
    marker = tokenizer(template.reason.rstrip(" "), add_special_tokens=False)["input_ids"]
    return [[*item.input_ids, *marker] for item in inputs]


def _check_context(model: PreTrainedModel, longest: int, max_new_tokens: int) -> None:
    context = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if context is not None and longest + max_new_tokens > context:
        room = context - longest
        hint = f"give `max_new_tokens` {room} or less" if room > 0 else "shorten the inputs"
        raise ConfigError(
            f"`max_new_tokens={max_new_tokens}` after an input of {longest} tokens is over the model's context "
            f"({context}): {hint}"
        )


def _answer_is_written(tokenizer: PreTrainedTokenizerBase, reader: HeadReader) -> Stop:
    """Ends a row with the line break after its answer: `read_decoded` takes nothing from beyond it."""

    @cache
    def breaks_line(token: int) -> bool:  # so that all other steps cost nothing
        return "\n" in tokenizer.decode([token])

    def is_written(new: list[int]) -> bool:
        if not breaks_line(new[-1]):
            return False
        _, answer = reader.split(tokenizer.decode(new, skip_special_tokens=True))
        return answer is not None and "\n" in answer.lstrip()

    return is_written


def read_decoded(text: str, num_tokens: int, reader: HeadReader) -> Decoded:
    """What was written after a prompt, as rationale and answer."""
    rationale, answer = reader.split(text)
    return Decoded(rationale, None if answer is None else parse_answer(answer, reader), num_tokens)


def parse_answer(answer: str, reader: HeadReader) -> str | list[str] | None:
    """The label that an answer names, or the list of them for multi-label: its first line, read by the labels' words.

    None where the line holds anything else.
    """
    found = reader.label(answer)
    if found is None:
        return None
    names = [reader.labels.names[index] for index in found]
    return names if reader.labels.multi_label else names[0]
