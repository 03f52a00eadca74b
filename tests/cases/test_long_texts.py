"""F14: a text of any length costs what its first tokens cost, and they are those of the whole text."""

from __future__ import annotations

import random
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

import dhrd
from dhrd import Classifier, DataError
from dhrd.data.records import Example, LabelSet
from dhrd.data.sequence import InputEncoder, SequenceEncoder
from dhrd.data.templates import InputTemplate
from dhrd.data.tokenizer import prepare_tokenizer
from dhrd.data.tokens import TextTokenizer
from dhrd.inference import streaming as stages
from helpers.rows import make_tokenizer
from helpers.runs import make_config
from helpers.tokenizers import TOKENIZER_FAMILIES, family_tokenizer, odd_text

UNSURE = {"byte-level BPE, across characters", "digits from the right", "BPE that ends words (CLIP)"}
"""Families for which no place is sure: their texts are tokenised whole."""


@pytest.mark.parametrize("family", TOKENIZER_FAMILIES)
def test_f14_first_tokens_are_those_of_the_whole_text(family: str) -> None:
    tokenizer = family_tokenizer(family)
    ours, draw = TextTokenizer(tokenizer), random.Random(f"texts {family}")
    texts = [odd_text(draw, draw.choice((0, 30, 300, 3000, 9000))) for _ in range(25)]
    num_unread = 0
    for limit in (2, 3, 8, 40):
        for text, first in zip(texts, ours.first(texts, limit), strict=True):
            whole = tokenizer(text, verbose=False)["input_ids"]
            assert first.ids == tokenizer(text, truncation=True, max_length=limit)["input_ids"], text
            assert first.was_cut == (len(whole) > limit)
            assert first.num_tokens == len(whole) if first.was_read else limit < first.num_tokens <= len(whole)
            num_unread += not first.was_read
    assert (num_unread == 0) == (family in UNSURE)


@pytest.mark.parametrize("family", sorted(TOKENIZER_FAMILIES.keys() - UNSURE))
def test_f14_a_window_of_beginnings_alone_is_enough(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = family_tokenizer(family)
    ours, draw = TextTokenizer(tokenizer), random.Random(f"windows {family}")
    ours.all(["made by the first call"])
    copy: Any = ours._copy
    monkeypatch.setattr(copy, "_until_word_border", lambda *arguments: None)
    texts = [odd_text(draw, 6000) for _ in range(15)]
    texts += [draw.choice(("a", "ab", "abc", "  ", "1", "😀", "字")) * 3000 for _ in range(5)]
    found = ours.first(texts, 5)
    assert [first.ids for first in found] == [
        tokenizer(text, truncation=True, max_length=5)["input_ids"] for text in texts
    ]
    assert any(not first.was_read for first in found) == (copy.cuts.window is not None)


@pytest.mark.parametrize(
    "text", ["the parcel is late ", "a", "QUJDRGVm", "word\n"], ids=["words", "a", "base64", "lines"]
)
@pytest.mark.parametrize("family", ["byte-level BPE (GPT-2)", "tiktoken-like (Llama 3)", "SentencePiece BPE (Llama 2)"])
def test_f14_megabytes_are_not_tokenised(family: str, text: str) -> None:
    tokenizer = family_tokenizer(family)
    long, shorter = text * (2_000_000 // len(text)), text * (60_000 // len(text))
    (first,) = TextTokenizer(tokenizer).first([long], 64)
    assert first.was_cut
    assert not first.was_read
    assert first.num_tokens < 5_000
    assert first.ids == tokenizer(shorter, truncation=True, max_length=64)["input_ids"]


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
    with pytest.raises(DataError, match=r"^f:1: 25 tokens are over the limit of 20"):
        encoder.encode([({"input_text": "x" * 25}, "f:1")])
    with pytest.raises(DataError, match=r"^f:1: more than \d{2,3} tokens are over the limit of 20"):
        encoder.encode([({"input_text": "x" * 1_000_000}, "f:1")])


def test_s1_a_tokenizer_that_comes_with_truncation_and_padding_is_read_without() -> None:
    tokenizer = make_tokenizer()
    tokenizer.backend_tokenizer.enable_truncation(3)
    tokenizer.backend_tokenizer.enable_padding(length=9)
    assert TextTokenizer(tokenizer).all(["abcdef"]) == [tokenizer.convert_tokens_to_ids(list("abcdef"))]
    assert tokenizer.backend_tokenizer.truncation is not None  # left as it is
    prepare_tokenizer(tokenizer)
    assert (tokenizer.backend_tokenizer.truncation, tokenizer.backend_tokenizer.padding) == (None, None)


class Row(dict[str, str]):
    """A row whose end can be seen."""

    __hash__ = object.__hash__  # type: ignore[assignment]


def test_f14_windows_are_bounded_by_characters_too(
    tiny_backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config(tiny_backbone, tmp_path, "training.num_epochs=1", "data.max_input_tokens=40")
    classifier = Classifier.from_pretrained(dhrd.train(config).output_dir, device="cpu")
    monkeypatch.setattr(stages, "_WINDOW_CHARACTERS", 100_000)
    alive: weakref.WeakSet[Row] = weakref.WeakSet()
    most = 0

    def source() -> Iterator[Row]:
        nonlocal most
        for number in range(200):
            row = Row(input_text=f"{number} " + "late again " * 1000)
            alive.add(row)
            most = max(most, len(alive))
            yield row

    assert len(list(classifier.stream(source()))) == 200
    assert most <= 4 * 10  # rows of 11,000 characters: ten a window, two windows ahead of the one at hand
