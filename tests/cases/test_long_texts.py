"""F14: a text of any length costs what its first tokens cost, and they are those of the whole text."""

from __future__ import annotations

import random
from collections.abc import Mapping

import pytest
from transformers import PreTrainedTokenizerFast

from dhrd import DataError
from dhrd.data.inputs import InputEncoder
from dhrd.data.records import Example, LabelSet
from dhrd.data.sequence import SequenceEncoder
from dhrd.data.templates import InputTemplate
from helpers.rows import make_tokenizer
from helpers.tokenizers import TOKENIZER_FAMILIES, family_tokenizer, odd_text

"""Families for which no place is sure: their texts are tokenised whole."""


def _slowly_shortened(
    tokenizer: PreTrainedTokenizerFast, template: InputTemplate, columns: Mapping[str, str], limit: int
) -> list[int]:
    """The longest beginning of the only column that fits, found by bisection with the whole text's tokens."""
    whole, low, high, best = columns["text"], 0, len(columns["text"]), []
    while low <= high:
        middle = (low + high) // 2
        ids = tokenizer(template.render({"text": whole[:middle].rstrip()}))["input_ids"]
        if len(ids) <= limit:
            best, low = ids, middle + 1
        else:
            high = middle - 1
    return best


@pytest.mark.parametrize("family", TOKENIZER_FAMILIES)
def test_f14_templates_keep_their_ending_as_before(family: str) -> None:
    tokenizer, draw = family_tokenizer(family), random.Random(f"templates {family}")
    template = InputTemplate("Mail: {{ text }}\nWhat is it about?")
    encoder = InputEncoder(tokenizer=tokenizer, template=template, max_input_tokens=45, mend_pad_ending=True)
    for _ in range(6):
        columns = {"text": "parcel " + odd_text(draw, 6000)}
        (item,) = encoder.encode([(columns, "f:1")])
        assert item.was_cut == (len(tokenizer(template.render(columns))["input_ids"]) > 45)
        if item.was_cut:
            assert item.input_ids == _slowly_shortened(tokenizer, template, columns, 45)
            assert item.text.endswith("\nWhat is it about?")


def test_f14_rationales_and_inputs_of_training_are_cut_alike() -> None:
    tokenizer = make_tokenizer()
    encoder = SequenceEncoder(
        inputs=InputEncoder(tokenizer=tokenizer, max_input_tokens=20),
        labels=LabelSet(("no", "yes")),
        max_sequence_tokens=60,
    )
    text, rationale = "the parcel is late " * 3000, "it says so " * 3000
    data = encoder.encode([Example(input_text=text, label="yes", rationale=rationale, id="r")])
    (example,) = data.examples
    assert (data.num_inputs_cut, data.num_rationales_cut) == (1, 1)
    assert example.input_ids == tokenizer(text, truncation=True, max_length=20)["input_ids"]
    whole = tokenizer(f"\n\nReasoning: {rationale.strip()}", add_special_tokens=False)["input_ids"]
    assert example.continuation_ids[: example.reason_end] == whole[: example.reason_end]
    assert len(example.input_ids) + len(example.continuation_ids) == 60


def test_f14_strict_refuses_a_long_text_without_reading_it() -> None:
    encoder = InputEncoder(tokenizer=make_tokenizer(), max_input_tokens=20, strict=True)
    with pytest.raises(DataError, match=r"^f:1: 25 tokens exceed the limit of 20"):
        encoder.encode([({"input_text": "x" * 25}, "f:1")])
    with pytest.raises(DataError, match=r"^f:1: more than \d{2,3} tokens exceed the limit of 20"):
        encoder.encode([({"input_text": "x" * 1_000_000}, "f:1")])
