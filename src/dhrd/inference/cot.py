"""Chain-of-thought decoding with the reasoning head: what DHRD makes unnecessary, kept to measure against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dhrd.data.records import LabelSet
from dhrd.data.sequence import EncodedInput, SequenceTemplate
from dhrd.model.generation import generate

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class Decoded:
    """One decoded row.

    Args:
        rationale: What the reasoning head wrote before its answer.
        label: The label it named, or None where the answer cannot be read.
        num_tokens: New tokens, without eos.
    """

    rationale: str
    label: str | None
    num_tokens: int


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
    """
    template = template or SequenceTemplate()
    marker = tokenizer(template.reason.rstrip(" "), add_special_tokens=False)["input_ids"]
    new = generate(
        model,
        tokenizer,
        [[*item.input_ids, *marker] for item in inputs],
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_p=top_p,
        batch_size=batch_size,
        seed=seed,
    )
    texts = tokenizer.batch_decode(new, skip_special_tokens=True)
    return [_read(text, len(ids), labels, template) for text, ids in zip(texts, new, strict=True)]


def _read(text: str, num_tokens: int, labels: LabelSet, template: SequenceTemplate) -> Decoded:
    rationale, found, answer = text.partition(template.answer.rstrip(" "))
    return Decoded(rationale.strip(), parse_answer(answer, labels) if found else None, num_tokens)


def parse_answer(answer: str, labels: LabelSet) -> str | None:
    """The label that an answer names: its first line, which must be one of the labels' words; else None."""
    found = labels.read(answer)
    return ", ".join(labels.names[index] for index in found) if found is not None else None
