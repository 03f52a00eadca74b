"""Decoding of chain of thought, independent of the engine: options, results and timing."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from statistics import fmean
from typing import Protocol

from dhrd._text import shown
from dhrd.config.section import check_count
from dhrd.data.inputs import EncodedInput
from dhrd.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoding:
    """Decoding options of the reasoning head.

    Args:
        max_new_tokens: Maximum tokens of rationale and answer (paper: 500).
        temperature: Sampling temperature; 0: greedy (paper: 0.1).
        top_p: Nucleus sampling probability (paper: 0.7).
        batch_size: Rows to decode together, if the engine does not choose it.
        seed: Sampling seed.

    Raises:
        ConfigError: An option is invalid.
    """

    max_new_tokens: int = 500
    temperature: float = 0.0
    top_p: float = 1.0
    batch_size: int = 16
    seed: int = 0

    def __post_init__(self) -> None:
        check_count("max_new_tokens", self.max_new_tokens)
        check_count("batch_size", self.batch_size)
        check_count("seed", self.seed, least=0)
        sampling = self.temperature, self.top_p
        numbers = all(isinstance(value, Real) and not isinstance(value, bool) for value in sampling)
        if not numbers or not 0 <= self.temperature < math.inf or not 0 < self.top_p <= 1:
            raise ConfigError(
                f"`temperature` {shown(self.temperature)} `top_p` {shown(self.top_p)}: give at least 0, and a "
                "top_p above 0 and up to 1"
            )


@dataclass(frozen=True, slots=True)
class Decoded:
    """One decoded row.

    Args:
        rationale: The text before the answer.
        label: The label named by the answer (a list for multi-label); None if it cannot be parsed.
        num_tokens: Number of new tokens, without eos.
    """

    rationale: str
    label: str | list[str] | None
    num_tokens: int


class Decoder(Protocol):
    """A reasoning head in an engine: transformers' (`dhrd.inference.cot`) or vLLM's (`dhrd.inference.vllm`)."""

    def decode(self, inputs: Sequence[EncodedInput], decoding: Decoding) -> list[Decoded]:
        """Write a rationale and an answer for each input, in order.

        Raises:
            ConfigError: An input and `max_new_tokens` exceed the model's context.
        """


@dataclass(frozen=True, slots=True)
class TimedDecoding:
    """Decoded rows (at least one) and the time from tokens to labels.

    Args:
        decoded: In the order of the inputs.
        seconds: Seconds for all of them.
    """

    decoded: list[Decoded]
    seconds: float

    @property
    def queries_per_second(self) -> float:
        """Rows per second."""
        return len(self.decoded) / self.seconds

    @property
    def tokens_per_second(self) -> float:
        """New tokens per second."""
        return sum(row.num_tokens for row in self.decoded) / self.seconds

    @property
    def mean_new_tokens(self) -> float:
        """Mean number of new tokens per row."""
        return fmean(row.num_tokens for row in self.decoded)

    @property
    def unparsable_share(self) -> float:
        """Share of answers that cannot be parsed."""
        return fmean(row.label is None for row in self.decoded)


def timed_decoding(decoder: Decoder, inputs: Sequence[EncodedInput], decoding: Decoding) -> TimedDecoding:
    """Decode and measure the time; building the decoder's engine is not included.

    Raises:
        ConfigError: An input and `max_new_tokens` exceed the model's context.
    """
    began = time.perf_counter()
    decoded = decoder.decode(inputs, decoding)
    return TimedDecoding(decoded, time.perf_counter() - began)
