"""Rows on their way to the model: how many are done with, and which."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dhrd.config import DataSettings
from dhrd.data.sources import open_source
from dhrd.errors import ConfigError, DataError
from dhrd.run.predict.reading import Reading
from dhrd.run.predict.sinks import Refused
from helpers.rows import write_jsonl

ROWS = [{"input_text": "a"}, {"input_text": ""}, {"input_text": "b", "n": 1}, {"input_text": "c"}, {"input_text": ""}]


def reading(path: Path, rows: list[Any] = ROWS, *, skip: bool = True, keep: tuple[str, ...] = ()) -> Reading:
    return Reading(open_source(write_jsonl(path, rows), DataSettings()), keep=keep, skip=skip)


def test_bad_rows_come_with_the_good_one_after_them(tmp_path: Path) -> None:
    rows = reading(tmp_path / "in.jsonl")
    examples = list(rows)
    assert [example.input_text for example in examples] == ["a", "b", "c"]
    assert rows.taken(1, ()) == []
    (left_out,) = rows.taken(1, ())
    assert (left_out.where, rows.num_taken) == (f"{tmp_path}/in.jsonl:2", 3)
    problem = DataError(f"{examples[2].where}: too long")
    assert rows.taken(1, [(examples[2], problem)]) == [Refused(examples[2].where, "too long")]
    assert [row.where for row in rows.late()] == [f"{tmp_path}/in.jsonl:5"]


def test_another_run_goes_on_behind_the_same_rows(tmp_path: Path) -> None:
    first = reading(tmp_path / "in.jsonl")
    list(first)
    first.taken(2, ())
    second = reading(tmp_path / "moved.jsonl")
    second.go_to(first.num_taken, first.digest)
    assert [example.input_text for example in second] == ["c"]
    second.taken(1, ())
    first.taken(1, ())
    assert second.digest == first.digest


@pytest.mark.parametrize(
    "rows",
    [
        [{"input_text": "A"}, *ROWS[1:]],
        [ROWS[0], *ROWS[2:]],
        [*ROWS[:2], ROWS[2] | {"n": 2}, *ROWS[3:]],
        [*ROWS[:2], ROWS[2] | {"id": "other"}, *ROWS[3:]],
        [*ROWS[:2], ROWS[2] | {"input_text": "b "}, *ROWS[3:]],
        ROWS[:2],
        [],
    ],
)
def test_other_rows_are_refused(tmp_path: Path, rows: list[Any]) -> None:
    first = reading(tmp_path / "in.jsonl", [ROWS[0] | {"n": 0}, *ROWS[1:]], keep=("n",))
    list(first)
    first.taken(2, ())
    other = reading(
        tmp_path / "in.jsonl", [row | {"n": 0} if i == 0 else row for i, row in enumerate(rows)], keep=("n",)
    )
    with pytest.raises(ConfigError, match="not the rows of the interrupted run"):
        other.go_to(first.num_taken, first.digest)


def test_without_skip_a_bad_row_ends_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"in\.jsonl:2: input_text: empty"):
        list(reading(tmp_path / "in.jsonl", skip=False))


def test_a_column_to_keep_is_one_of_the_first_good_row(tmp_path: Path) -> None:
    rows = reading(tmp_path / "in.jsonl", [ROWS[1], *ROWS], keep=("n",))
    with pytest.raises(DataError, match=r"in\.jsonl:2: there is no column 'n' to keep"):
        list(rows)
    later = [{"input_text": ""}, {"input_text": "a", "n": 1}, {"input_text": "b"}]
    assert len(list(reading(tmp_path / "in.jsonl", later, keep=("n",)))) == 2
