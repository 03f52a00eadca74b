"""The content words of rationales."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from dhrd.data.inputs import InputEncoder
from dhrd.data.keywords import MAX_KEYWORDS, keyword_ids
from dhrd.data.records import Example, LabelSet
from dhrd.data.sequence import SequenceEncoder
from dhrd.errors import DataError
from helpers.rows import make_tokenizer


class Letters:
    """A tokenizer whose tokens are characters."""

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(map(chr, ids))


def keywords(texts: Sequence[str], left_out: str = "") -> list[str]:
    found = keyword_ids([[ord(c) for c in text] for text in texts], Letters(), left_out={ord(c) for c in left_out})  # type: ignore[arg-type]
    return ["".join(map(chr, ids)) for ids in found]


def test_what_most_or_only_one_rationale_says_is_no_content() -> None:
    texts = ["the,a,q", "the,ab", "theb", "", "the,bc", "thec", "thed"]
    assert keywords(texts) == ["a", "ab", "b", "", "bc", "c", ""]


def test_labels_own_words_are_left_out() -> None:
    assert keywords(["ab", "ab", "b", "c", "c", "c"], left_out="b")[0] == "a"


def test_a_word_said_twice_is_one_keyword_and_there_are_at_most_so_many() -> None:
    alphabet = [chr(ord("a") + i) for i in range(26)] + [chr(ord("A") + i) for i in range(10)]
    texts = ["".join(alphabet)] * 2 + ["é"] * 3
    assert len(keywords(texts)[0]) == MAX_KEYWORDS
    assert keywords(["aab", "ab", "c", "c"])[0] == "ab"


def test_rarer_words_come_first() -> None:
    common = "bcdefghijklmnopqrs"
    texts = ["a" + common, "a" + common, common, common] + ["0"] * 6
    assert "a" in keywords(texts)[0] and len(keywords(texts)[0]) == MAX_KEYWORDS


def test_rationales_without_common_words_are_refused() -> None:
    with pytest.raises(DataError, match=r"loss\.keyword_weight: the rationales have no content words in common"):
        keywords(["a", "b", ","])


def test_shuffled_rationales_give_the_donors_words() -> None:
    tokenizer, labels = make_tokenizer(), LabelSet(("no", "yes"))
    examples = [
        Example(input_text=f"text {i}", label=i % 2, rationale=word, id=str(i), where=f"f:{i}")
        for i, word in enumerate(["XX", "XX", "YY", "YY", "ZZ", "ZZ"])
    ]
    encode = lambda mode: SequenceEncoder(  # noqa: E731
        inputs=InputEncoder(tokenizer=tokenizer),
        labels=labels,
        with_reasoning=False,
        with_keywords=True,
        rationale_mode=mode,
    ).encode(examples)
    aligned, shuffled = encode("aligned"), encode("shuffled")
    own = {row.id: row.keyword_ids for row in aligned.examples}
    assert all(own.values()) and all(not row.continuation_ids for row in aligned.examples)
    assert aligned.num_with_rationale == 6
    for row in shuffled.examples:
        assert row.keyword_ids == own[shuffled.donors[row.id]]
