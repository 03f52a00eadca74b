"""Where a text may be cut: between words, by agreement, or nowhere; by what a tokenizer is made of."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dhrd.data.cutting import Cuts
from helpers.rows import make_tokenizer


def described(**parts: Any) -> dict[str, Any]:
    """A description of a byte-level BPE tokenizer, with parts of it replaced."""
    description = json.loads(make_tokenizer().backend_tokenizer.to_str())
    return {**description, **parts}


def test_byte_level_bpe_is_cut_between_words_and_by_agreement() -> None:
    cuts = Cuts.of(described())
    assert cuts.between_words
    assert cuts.window is not None and cuts.window >= 2 * len("<eos>")


@pytest.mark.parametrize(
    "parts",
    [
        {"normalizer": {"type": "Unheard"}},
        {"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Unheard"}]}},
        {"normalizer": {"type": "Replace", "pattern": {"String": "a b"}, "content": "ab"}},
        {"pre_tokenizer": {"type": "Split", "pattern": {"Regex": r"\w+(?=x)"}}},
        {"pre_tokenizer": {"type": "Split", "pattern": {"String": "ab"}}},
    ],
)
def test_with_anything_unknown_no_place_is_sure(parts: dict[str, Any]) -> None:
    assert Cuts.of(described(**parts)) == Cuts()
    assert Cuts().word_border("one two", 5) is None
    assert not Cuts().can_agree("one two", 5, str)


def test_a_token_with_a_space_within_lets_no_words_be_cut() -> None:
    description = described()
    description["model"]["vocab"]["theĠend"] = 999
    assert not Cuts.of(description).between_words


@pytest.mark.parametrize("name", ["dropout", "continuing_subword_prefix", "end_of_word_suffix"])
def test_bpe_that_does_not_decide_from_the_left(name: str) -> None:
    description = described()
    description["model"][name] = 0.1
    assert Cuts.of(description) == Cuts()


def test_the_last_border_between_words() -> None:
    cuts = Cuts(between_words=True)
    text = "one two, three  four five"
    assert text[: cuts.word_border(text, len(text))] == "one two, three  four"
    assert text[: cuts.word_border(text, 20)] == "one", "neither at a comma nor at two spaces"
    assert cuts.word_border("x" * 10_000 + " y z", 9_000) is None


def test_a_window_in_which_something_vanishes_proves_nothing() -> None:
    cuts = Cuts(window=4)
    assert cuts.can_agree("abcdefgh", 6, str)
    assert not cuts.can_agree("abcdefgh", 4, str), "no whole window before it"
    assert not cuts.can_agree("abcdefgh", 8, str), "the whole text"
    assert not cuts.can_agree("abcdefgh", 6, lambda text: text.replace("e", ""))
    assert not cuts.can_agree("abcde\u0301fgh", 6, str), "a combining mark may join what is before it"
