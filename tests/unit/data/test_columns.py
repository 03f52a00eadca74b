"""What the columns of rows hold."""

from __future__ import annotations

from dhrd.data.columns import look_at_columns
from dhrd.data.row import BadRow, Row


def test_what_a_column_holds() -> None:
    rows = [Row("x:1", {"a": "one two", "n": "1.5", "l": ["p"]}), BadRow("x:2", "torn"), Row("x:3", {"a": " ", "n": 2})]
    a, n, listed = look_at_columns(rows)
    assert (a.num_rows, a.num_filled, a.num_distinct, a.mean_words) == (2, 1, 1, 2.0)
    assert a.is_text and not a.is_number and not a.is_always_filled
    assert n.is_number and not n.is_text and n.is_always_filled
    assert (listed.is_text, listed.num_filled) == (False, 1)
