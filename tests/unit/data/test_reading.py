"""What a reasoning head wrote is read back, whatever its tokenizer makes of markers and labels."""

from __future__ import annotations

import pytest
from transformers import PreTrainedTokenizerBase

from dhrd.data.label_space import LabelSpace
from dhrd.data.reading import HeadReader, given_back
from dhrd.data.records import LabelSet
from dhrd.data.sequence import SequenceTemplate
from helpers.rows import TOKENIZERS, make_folding_tokenizer, make_tokenizer

LABELS = LabelSet(("back", "e-mail", "naïve"), ("Rückgabe", "e-mail", "Naïve"))
TEMPLATE = SequenceTemplate()
FOLDING = make_folding_tokenizer(
    "It is late. Answer: Reasoning: names, and no Rückgabe e-mail Naïve Bücher Ärger US them"
)


def said(tokenizer: PreTrainedTokenizerBase, text: str) -> str:
    return tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"], skip_special_tokens=True)


@pytest.mark.parametrize("word", LABELS.words)
@pytest.mark.parametrize("tokenizer", [make_tokenizer(), FOLDING], ids=["exact", "folding"])
def test_what_was_written_is_read(tokenizer: PreTrainedTokenizerBase, word: str) -> None:
    reader = HeadReader.of(LABELS, TEMPLATE, tokenizer)
    rationale, answer = reader.split(said(tokenizer, f" It Is Late.\nAnswer: {word}"))
    assert rationale == said(tokenizer, "It Is Late.")
    assert answer is not None and reader.label(answer) == (LABELS.words.index(word),)


def test_the_folding_tokenizer_gives_back_neither_marker_nor_word() -> None:
    """Else the test above shows nothing."""
    written = said(FOLDING, " Late.\nAnswer: Rückgabe")
    assert written == "late . answer : ruckgabe"
    plain = HeadReader.of(LABELS, TEMPLATE)
    assert plain.split(written) == (written, None) and plain.label("ruckgabe") is None


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_a_tokenizer_that_gives_text_back_changes_no_reader(kind: str) -> None:
    tokenizer = make_tokenizer(**TOKENIZERS[kind])
    assert HeadReader.of(LABELS, TEMPLATE, tokenizer) == HeadReader.of(LABELS, TEMPLATE)


def test_no_marker_is_no_answer() -> None:
    text = said(FOLDING, "It names Rückgabe, and no answer.")
    assert HeadReader.of(LABELS, TEMPLATE, FOLDING).split(text) == (text, None)


def test_several_labels_and_several_tasks_are_read_alike() -> None:
    tags = LabelSet(("Bücher", "Ärger"), multi_label=True)
    space = LabelSpace.of({"what": LABELS, "tags": tags})
    assert HeadReader.of(tags, TEMPLATE, FOLDING).label(said(FOLDING, "Bücher, Ärger")) == (0, 1)
    reader = HeadReader.of(space, TEMPLATE, FOLDING)
    assert [reader.label(said(FOLDING, text)) for text in ("Rückgabe", "Ärger")] == [(0,), (4,)]


def test_labels_that_the_tokenizer_makes_one_are_not_told_apart() -> None:
    labels = LabelSet(("US", "us", "them"))
    reader = HeadReader.of(labels, TEMPLATE, FOLDING)
    assert [reader.label(text) for text in ("us", "them")] == [None, (2,)]


def test_what_a_tokenizer_leaves_nothing_of_stays_as_it_is() -> None:
    tokenizer = make_folding_tokenizer("")
    assert given_back(tokenizer, ["Answer:", ""]) == ["Answer:", ""]
