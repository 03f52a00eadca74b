"""Words and sentences, as the checks of the audit see them."""

from __future__ import annotations

import pytest

from dhrd.data.records import Example
from dhrd.rationales.audit.text import input_of, sentences, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It doesn’t matter – twice!", ["it", "doesn't", "matter", "twice"]),
        ("– … !", []),
        ("他去", ["他", "去"]),
        ("a_b 12", ["a", "b", "12"]),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three", ["One.", "Two!", "Three"]),
        ("He paid 3. 50 of it.", ["He paid 3. 50 of it."]),
        ("“Why?” He knew. ", ["“Why?", "He knew. "]),
        ("  ", []),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    assert [text[start:end] for start, end in sentences(text)] == expected


def test_the_input_is_every_column_of_text_or_of_a_number_but_the_label() -> None:
    fields = {"premise": "p", "idx": "7", "score": 3, "age": 4.5, "new": True, "tags": ["t"], "rationale": "r"}
    assert input_of(Example(id="r0", label="yes", input_text="x", fields=fields)) == "p\n3\n4.5\nx"
