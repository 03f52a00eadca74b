"""Chain-of-thought decoding with the reasoning head, which DHRD makes unnecessary; used as a baseline."""

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

_DECODING = threading.Lock()  # one thread at a time, as some models keep one cache for all calls


class Reasoner:
    """An artifact's reasoning head, which answers in words.

    Args:
        model: Backbone and reasoning head.
        encoder: Encodes inputs as for the classifier; has the tokenizer.
        info: The artifact's info, with labels and sequence markers.
    """

    def __init__(self, model: PreTrainedModel, encoder: InputEncoder, info: ArtifactInfo) -> None:
        self.model = model.eval()
        self.encoder = encoder
        self.info = info

    @classmethod
    def from_pretrained(
        cls, directory: str | Path, *, device: str | int | torch.device | None = None, dtype: torch.dtype | None = None
    ) -> Reasoner:
        """Load any artifact, including one without a classifier.

        Args:
            directory: A directory written by `dhrd train`.
            device: A device; None: a GPU if there is one; -1: the CPU.
            dtype: The data type; None: as saved.

        Raises:
            ArtifactError: The directory is not a finished artifact, or damaged.
            ConfigError: The device is not available.
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
        """See `Decoder.decode`; the inputs must come from `encoder`. One thread at a time."""
        decoder = TransformersDecoder(self.model, self.encoder.tokenizer, self.info.labels, self.info.sequence)
        with _DECODING:
            return decoder.decode(inputs, decoding)


@dataclass(frozen=True, slots=True)
class TransformersDecoder:
    """Decodes a causal language model with transformers.

    Args:
        model: `load_reasoning_model(DIR)`, or any causal language model.
        tokenizer: Its tokenizer.
        labels: The label set, whose words are used to parse the answer.
        template: The sequence markers used in training.
        stop_at_answer: End a row after the line with its answer. A trained head stops there by itself; any other model
            continues, and what it writes then is ignored.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    labels: LabelSet
    template: SequenceTemplate = field(default_factory=SequenceTemplate)
    stop_at_answer: bool = True

    def decode(self, inputs: Sequence[EncodedInput], decoding: Decoding) -> list[Decoded]:
        """See `Decoder.decode`; inputs are encoded as for the classifier."""
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
    """Each input's tokens followed by the marker after which the reasoning head writes."""
    marker = tokenizer(template.reason.rstrip(" "), add_special_tokens=False)["input_ids"]
    return [[*item.input_ids, *marker] for item in inputs]


def _check_context(model: PreTrainedModel, longest: int, max_new_tokens: int) -> None:
    context = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if context is not None and longest + max_new_tokens > context:
        room = context - longest
        hint = f"give `max_new_tokens` {room} or less" if room > 0 else "shorten the inputs"
        raise ConfigError(
            f"`max_new_tokens={max_new_tokens}` after an input of {longest} tokens exceeds the model's context "
            f"({context}): {hint}"
        )


def _answer_is_written(tokenizer: PreTrainedTokenizerBase, reader: HeadReader) -> Stop:
    """Ends a row at the line break after its answer, as `read_decoded` ignores the rest."""

    @cache
    def breaks_line(token: int) -> bool:  # a cheap test for all other steps
        return "\n" in tokenizer.decode([token])

    def is_written(new: list[int]) -> bool:
        if not breaks_line(new[-1]):
            return False
        _, answer = reader.split(tokenizer.decode(new, skip_special_tokens=True))
        return answer is not None and "\n" in answer.lstrip()

    return is_written


def read_decoded(text: str, num_tokens: int, reader: HeadReader) -> Decoded:
    """Parse decoded text into rationale and answer."""
    rationale, answer = reader.split(text)
    return Decoded(rationale, None if answer is None else parse_answer(answer, reader), num_tokens)


def parse_answer(answer: str, reader: HeadReader) -> str | list[str] | None:
    """The label named by the first line of an answer (a list for multi-label), matched by the labels' words.

    None if the line contains anything else.
    """
    found = reader.label(answer)
    if found is None:
        return None
    names = [reader.labels.names[index] for index in found]
    return names if reader.labels.multi_label else names[0]
