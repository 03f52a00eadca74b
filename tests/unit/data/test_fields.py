"""Each field of a row: what it may be, and what is said where it is not."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from dhrd.data import fields
from dhrd.data.row import Row
from dhrd.errors import DataError

ROW = Row("f:1", {"body": "text", "n": 1})


def test_the_text_is_wanted_where_the_template_reads_it() -> None:
    assert fields.input_text(" a ", ROW, required=True) == " a "
    assert fields.input_text(5, ROW, required=False) == fields.input_text(None, ROW, required=False) == ""
    for value, message in (
        (None, r"input_text: missing; the row has body, n \(map it with `data.columns.input_text=COLUMN`\)"),
        (5, "input_text: 5 is not text; put it in quotes"),
        (" \n", "input_text: empty; fill it in or remove the row"),
    ):
        with pytest.raises(ValueError, match=message):
            fields.input_text(value, ROW, required=True)


def test_a_label_may_be_missing_where_none_is_needed() -> None:
    assert fields.label(" a ", True, ROW) == "a"
    assert fields.label("a|b", True, ROW, "|") == ("a", "b")
    assert fields.label(None, False, ROW) is None
    with pytest.raises(ValueError, match="label: missing; the row has body, n"):
        fields.label(None, True, ROW)
    with pytest.raises(ValueError, match=r"^label: missing: 'queue' is ' '; .*: leave such rows out$"):
        fields.label(" ", True, Row("rows.csv:2", {"queue": " "}), column="queue")


@pytest.mark.parametrize(("value", "expected"), [("because ", "because "), (" \n", None), ("", None), (None, None)])
def test_optional_text(value: Any, expected: str | None) -> None:
    assert fields.optional_text("rationale", value) == expected


def test_text_that_is_none_is_refused_by_its_field() -> None:
    with pytest.raises(ValueError, match="rationale: 5 is not text; put it in quotes, or leave it out"):
        fields.optional_text("rationale", 5)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a", "a"),
        (7, "7"),
        (7.0, "7"),
        (Decimal(7), "7"),
        ("007", "007"),
        (0, "0"),
        (None, None),
        ("", None),
        (" ", None),
    ],
)
def test_ids_are_text_or_whole_numbers(value: Any, expected: str | None) -> None:
    assert fields.key("id", value) == expected


@pytest.mark.parametrize("value", [7.5, True, ["a"]])
def test_other_ids_are_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"group: .* is neither text nor an integer"):
        fields.key("group", value)
    with pytest.raises(
        ValueError, match=r"correct the row, or name another column than 'x': `data\.columns\.id=COLUMN`"
    ):
        fields.key("id", value, "x")


def test_half_an_emoji_is_found_however_deep() -> None:
    row = Row("f:1", {"good": "😀", "bad": [{"x": ["\ud83d"]}]})
    fields.check_characters(row, ["good"])
    with pytest.raises(ValueError, match=r"bad: .* at character 0 is half of a surrogate pair"):
        fields.check_characters(row)
    with pytest.raises(ValueError, match="half of a surrogate pair"):
        fields.check_characters(Row("f:1", {"a": {"\udc00é": 1}}))


@pytest.mark.parametrize(("num_bad", "num_told"), [(1, 1), (10, 10), (25, 10)])
def test_rows_are_read_to_the_end_and_the_first_problems_told_together(num_bad: int, num_told: int) -> None:
    def read(number: int) -> int:
        if number >= 2:
            raise DataError(f"row {number}: bad")
        return -number

    found = fields.read_each(range(2 + num_bad), read)
    assert [next(found), next(found)] == [0, -1]
    with pytest.raises(DataError) as caught:
        next(found)
    assert str(caught.value).splitlines() == [f"row {number}: bad" for number in range(2, 2 + num_told)]
