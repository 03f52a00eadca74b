"""The digest of a row's input: what changes it, and what does not."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from dataclasses import replace

import pytest

from dhrd.data import digest as module
from dhrd.data.digest import DigestIds, digest_of, exact_digest, fingerprint, input_digest, rows_digest
from dhrd.data.records import EncodedExample, Example
from dhrd.data.templates import InputTemplate

PLAIN = InputTemplate()


def test_a_text_has_the_digest_of_its_words() -> None:
    expected = hashlib.sha256("a for\u00eat".encode()).hexdigest()[:16]
    for text in ("a for\u00eat", " a \n\t fore\u0302t "):
        assert input_digest({"input_text": text, "id": text}, PLAIN) == expected
        assert digest_of(Example(input_text=text)) == expected
    assert input_digest({"input_text": "A for\u00eat"}, PLAIN) != expected
    assert digest_of(Example(input_text="a", digest="given")) == "given"


def test_an_exact_digest_is_of_every_character_that_the_model_reads() -> None:
    texts = ("a for\u00eat", "a fore\u0302t", "a  for\u00eat", "a for\u00eat\n")
    for rows in ([Example(input_text=text) for text in texts], [Example(rendered=("", text)) for text in texts]):
        assert len({exact_digest(row) for row in rows}) == 4
    one, other = (Example(input_text="a", rendered=("", "A"), fields={"n": n}) for n in (1, 2))
    assert exact_digest(one) == exact_digest(other)


def test_rows_have_one_digest_in_any_order() -> None:
    rows = [Example(input_text=text, label=text) for text in ("a", "b", "b")]
    assert rows_digest(rows) == rows_digest(reversed(rows)) == rows_digest([replace(e, label="x") for e in rows])
    assert len({rows_digest(some) for some in (rows, rows[:2], rows[1:], [])}) == 4
    assert rows_digest([rows[0]]) == digest_of(rows[0]) and len(rows_digest([])) == 16


def test_only_what_the_template_reads_counts() -> None:
    template = InputTemplate("{{ a }} or {{ b }}")
    digest = input_digest({"a": "x", "b": 1}, template)
    assert digest == input_digest({"b": 1, "a": "x", "c": "y"}, InputTemplate("{{ b }}: {{ a | upper }}"))
    assert digest != input_digest({"a": "x", "b": 2}, template)
    assert input_digest({"a": "x"}, InputTemplate("Is it {{ a }}?")) == input_digest({"input_text": "x"}, PLAIN)


def test_a_template_that_may_read_any_column_is_rendered() -> None:
    template = InputTemplate("{% for name, value in row.items() %}{{ name }}={{ value }} {% endfor %}")
    assert input_digest({"a": 1, "b": 2}, template) == input_digest({"input_text": "a=1 b=2"}, PLAIN)


def test_a_second_row_of_a_text_has_an_id_of_its_own() -> None:
    ids = DigestIds()
    assert [ids.next(digest) for digest in ("0a", "0b", "0a", "0a")] == ["0a", "0b", "0a-2", "0a-3"]


def test_ids_are_those_of_a_count_of_all_digests(monkeypatch: pytest.MonkeyPatch) -> None:
    """However often the latest digests are put to the sorted ones; the greatest that there is among them."""
    monkeypatch.setattr(module, "_FEWEST_SORTED", 7)
    drawn, counts, ids = random.Random(0), Counter[str](), DigestIds()
    for _ in range(3000):
        digest = drawn.choice([f"{drawn.randrange(1000):016x}", f"{2**64 - 1 - drawn.randrange(1000):016x}"])
        counts[digest] += 1
        assert ids.next(digest) == (digest if counts[digest] == 1 else f"{digest}-{counts[digest]}")
    assert len(ids._sorted) > 1000 and len(ids._latest) <= len(ids._sorted) // 32 + 7


def test_the_fingerprint_tells_rows_apart() -> None:
    rows = [EncodedExample(id=str(n), input_ids=[n], continuation_ids=[n, 7], label=(0,)) for n in range(3)]
    assert fingerprint(rows) == fingerprint(list(rows))
    assert fingerprint([replace(row, group="g") for row in rows]) == fingerprint(rows)  # runs from before go on
    changes = [
        rows[1:],
        [*rows[1:], rows[0]],
        [replace(rows[0], input_ids=[9]), *rows[1:]],
        [replace(rows[0], continuation_ids=[9]), *rows[1:]],
        [replace(rows[0], label=(1,)), *rows[1:]],
    ]
    assert len({fingerprint(one) for one in [rows, *changes]}) == 6
