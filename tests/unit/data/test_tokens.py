"""Text to its first tokens, at a price that the limit bounds. The letters name reported cases."""

from __future__ import annotations

import logging
import random
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import dhrd
from dhrd import Classifier
from dhrd.data.tokens import TextTokenizer, prepare_tokenizer
from dhrd.errors import ModelError
from dhrd.inference import streaming as stages
from helpers.rows import make_tokenizer
from helpers.runs import make_config
from helpers.tokenizers import TOKENIZER_FAMILIES, family_tokenizer, odd_text

UNSURE = {"byte-level BPE, across characters", "digits from the right", "BPE that ends words (CLIP)"}


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
    monkeypatch.setattr(copy, "_few", lambda *arguments: 0)
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


def test_both_sides_are_right_and_nothing_is_cut_or_padded() -> None:
    tokenizer = make_tokenizer(padding_side="left", truncation_side="left")
    tokenizer.backend_tokenizer.enable_truncation(2)
    tokenizer.backend_tokenizer.enable_padding(length=9)
    prepare_tokenizer(tokenizer)
    assert tokenizer.pad_token != tokenizer.eos_token
    assert tokenizer.padding_side == tokenizer.truncation_side == "right"
    assert tokenizer.backend_tokenizer.truncation is tokenizer.backend_tokenizer.padding is None


def test_eos_pads_where_nothing_else_does(caplog: pytest.LogCaptureFixture) -> None:
    tokenizer = make_tokenizer(pad=None)
    with caplog.at_level(logging.WARNING, logger="dhrd"):
        prepare_tokenizer(tokenizer, "my model")
        prepare_tokenizer(tokenizer, "my model")
    assert tokenizer.pad_token_id == tokenizer.eos_token_id
    assert [record.getMessage() for record in caplog.records] == [
        "my model has no padding token; using its eos token '<eos>'"
    ]


def test_neither_is_an_error() -> None:
    with pytest.raises(ModelError, match="my model: the tokenizer has neither a pad nor an eos token"):
        prepare_tokenizer(make_tokenizer(pad=None, eos=None), "my model")
