"""What is left to ask for: each text once, and nothing that is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dhrd.config import DataSettings
from dhrd.data.records import Example
from dhrd.data.templates import PLAIN
from dhrd.errors import DataError
from dhrd.run.select.pool import open_pool
from helpers.rows import write_jsonl

TEXTS = ("one", "two", "three", "two ", "four")


def examples() -> list[Example]:
    return [Example(id=f"r{number}", input_text=text) for number, text in enumerate(TEXTS)]


def test_a_text_that_comes_again_is_left_out() -> None:
    pool = open_pool(examples(), [], PLAIN)
    assert pool.rows == [0, 1, 2, 4]
    assert (pool.num_excluded, pool.num_repeated) == (0, 1)


@pytest.mark.parametrize(
    ("known", "left"),
    [
        ([{"id": "r2"}], [0, 1, 4]),
        ([{"id": "another", "input_text": "one"}], [1, 2, 4]),
        ([{"input_text": " four"}, {"id": "r1"}], [0, 2]),
        ([{"id": "r2", "rationale": "So."}, {"input_text": "two", "label": "x"}], [0, 4]),
    ],
)
def test_rows_are_known_by_id_or_text(tmp_path: Path, known: list[dict[str, Any]], left: list[int]) -> None:
    pool = open_pool(examples(), [write_jsonl(tmp_path / "known.jsonl", known)], PLAIN)
    assert pool.rows == left
    assert len(pool.rows) + pool.num_excluded + pool.num_repeated == len(TEXTS)


def test_a_repeated_text_whose_first_row_is_known_by_id_is_not_asked_for(tmp_path: Path) -> None:
    pool = open_pool(examples(), [write_jsonl(tmp_path / "known.jsonl", [{"id": "r1"}])], PLAIN)
    assert pool.rows == [0, 2, 4]


def test_a_text_whose_later_row_is_known_by_id_is_not_asked_for(tmp_path: Path) -> None:
    twice = [Example(input_text=text, id=name) for name, text in (("a", "one"), ("b", "one"), ("c", "two"))]
    assert open_pool(twice, [write_jsonl(tmp_path / "known.jsonl", [{"id": "b"}])], PLAIN).rows == [2]


def test_columns_may_have_other_names(tmp_path: Path) -> None:
    known = write_jsonl(tmp_path / "known.jsonl", [{"number": "r0"}, {"text": "three"}])
    pool = open_pool(examples(), [known], PLAIN, DataSettings(columns={"id": "number", "input_text": "text"}))
    assert pool.rows == [1, 4]


def test_a_line_that_names_no_row_is_refused(tmp_path: Path) -> None:
    known = write_jsonl(tmp_path / "known.jsonl", [{"id": "r0"}, {"label": "x"}])
    with pytest.raises(DataError, match=r"known.jsonl:2: has neither an id nor input_text"):
        open_pool(examples(), [known], PLAIN)


def test_further_rows_can_be_left_out() -> None:
    pool = open_pool(examples(), [], PLAIN).only(number != 2 for number in range(5))
    assert pool.rows == [0, 1, 4]
    assert (pool.num_excluded, pool.num_repeated) == (1, 1)
