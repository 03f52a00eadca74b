"""Rows of a source: checked as they are read, bad ones told together, in constant memory."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from dhrd.config import DataSettings
from dhrd.data.row import BadRow, Row
from dhrd.data.sources import open_source
from dhrd.errors import ConfigError, DataError
from helpers.reading import PLAIN, error_of, load
from helpers.rows import write_jsonl

ROWS = [{"id": "r0", "input_text": "good", "label": "yes"}, {"id": "r1", "input_text": "bad", "label": "no"}]


def test_bad_rows_of_every_kind_are_reported_together(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(
        b'{"input_text": "a", "label": "x"}\n{"input_text": "b", "label": "x"\n\n[1]\n{"input_text": "\xff"}\n'
        b'{"label": "x"}\n{"input_text": "a", "label": 0.5}\n{"input_text": "a", "label": "x"}\n'
    )
    lines = error_of(path).splitlines()
    assert [line.split(": ")[0] for line in lines] == [f"{path}:{number}" for number in (2, 4, 5, 6, 7)]
    assert [word in line for word, line in zip(("JSON", "object", "UTF-8", "input_text", "label"), lines, strict=True)]


@pytest.mark.parametrize(("num_bad", "num_reported", "more"), [(9, 9, False), (10, 10, True), (25, 10, True)])
def test_at_most_ten_bad_rows_are_reported(num_bad: int, num_reported: int, more: bool) -> None:
    lines = error_of([{"input_text": ""}] * num_bad).splitlines()
    assert sum("input_text: empty" in line for line in lines) == num_reported
    assert (lines[-1] == "(there may be more)") == more


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"body": "a", "label": "x"}, "row 0: input_text: missing; the row has body, label"),
        ({"input_text": "a", "queue": "x"}, "row 0: label: missing; the row has input_text, queue"),
        ({"body": "a", "queue": "x"}, "row 0: input_text, label: there is no column 'input_text' and no column"),
    ],
)
def test_a_column_that_all_rows_lack_is_told_once(row: dict[str, Any], told: str) -> None:
    for count, more in ((3, "; 2 more rows are like it"), (25, "; at least 9 more rows are like it")):
        (line,) = error_of([row] * count).splitlines()
        assert line.startswith(told) and line.endswith(more)
    mixed = error_of([row, {**row, "input_text": "", "label": "x"}])
    assert len(mixed.splitlines()) == 2 and "more rows" not in mixed


def test_rows_before_the_first_bad_one_are_yielded() -> None:
    rows = open_source([*ROWS, {"input_text": ""}, *ROWS], PLAIN).examples()
    assert [next(rows).id, next(rows).id] == ["r0", "r1"]
    with pytest.raises(DataError, match="row 2"):
        next(rows)


def test_labels_may_be_absent_where_they_are_not_needed() -> None:
    settings = DataSettings(columns={"label": "gold", "input_text": "body"})
    (row,) = load([{"body": "a"}], settings, labels_required=False)
    assert row.label is None
    assert "label: there is no column 'gold', which data.columns names; known are body" in error_of(
        [{"body": "a"}], settings
    )


def test_a_limit_takes_the_first_rows(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", [*ROWS, {"input_text": ""}])
    assert [row.id for row in load(path, limit=1)] == ["r0"]
    assert len(load(path, limit=2)) == 2


def test_no_rows_is_an_error(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", [])
    assert error_of(path) == f"{path}: no rows"


def test_columns_are_mapped_and_the_template_sees_both_names() -> None:
    settings = DataSettings(
        columns={"input_text": "review", "label": "stars", "rationale": "why", "id": "key", "group": "shop"},
        input_template="{{ shop }}: {{ input_text }} / {{ review }}",
    )
    source = open_source([{"review": "nice", "stars": 5, "why": "w", "key": "k", "shop": "s", "label": "no"}], settings)
    (row,) = source.load()
    assert (row.input_text, row.label, row.rationale, row.id, row.group) == ("nice", "5", "w", "k", "s")
    assert row.columns()["review"] == row.columns()["input_text"] == "nice"


def test_a_template_needs_no_input_text() -> None:
    settings = DataSettings(input_template="{{ premise }} {{ hypothesis }}")
    rows = [{"premise": "p", "hypothesis": "h", "label": "x", "input_text": 7}]
    assert load(rows, settings)[0].fields["premise"] == "p"
    assert error_of([{"premise": "p", "label": "x"}], settings).startswith("row 0: input_template: 'hypothesis' is")


def test_a_template_that_is_none_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match=r"data\.input_template"):
        load(ROWS, DataSettings(input_template="{{ premise"))


def test_examples_stream_in_constant_memory(tmp_path: Path) -> None:
    peaks = []
    for num_rows in (1_000, 10_000):
        path = tmp_path / f"{num_rows}.jsonl"
        path.write_text('{"input_text": "some text of a row", "label": "yes"}\n' * num_rows, encoding="utf-8")
        source = open_source(path, PLAIN)
        next(source.examples())  # compile the template outside the measurement
        tracemalloc.start()
        assert sum(1 for _ in source.examples()) == num_rows
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0] + 50_000


def test_a_look_at_the_first_row_says_what_reading_all_would(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    for content, message in (("", "no rows"), ('{"body": "a", "label": "x"}\n', "input_text: missing")):
        path.write_text(content, encoding="utf-8")
        with pytest.raises(DataError, match=message) as looked:
            open_source(path, PLAIN).check()
        with pytest.raises(DataError) as read:
            open_source(path, PLAIN).load()
        assert str(looked.value) == str(read.value)
    path.write_text('{"input_text": "a"}\n{"input_text": 5}\n', encoding="utf-8")
    open_source(path, PLAIN).check(labels_required=False)  # the first alone
    with pytest.raises(DataError, match="label: missing"):
        open_source(path, PLAIN).check()


def test_a_stream_and_the_hub_are_not_looked_at() -> None:
    for spec in ("-", "hub:org/name", "superglue:cb"):
        open_source(spec, PLAIN).check()


def test_bad_rows_that_are_refused_are_left_out() -> None:
    told: list[tuple[str, str]] = []

    def refuse(row: Row | BadRow, problem: str) -> None:
        told.append((row.where, problem.partition(";")[0]))

    source = open_source([ROWS[0], {"input_text": "", "label": "yes"}, ROWS[1]], PLAIN)
    assert [row.id for row in source.examples(refuse=refuse)] == ["r0", "r1"]
    assert told == [("row 1", "input_text: empty")]
