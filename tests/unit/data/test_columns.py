"""What the columns of rows hold."""

from __future__ import annotations

from datetime import datetime

from dhrd.data.columns import look_at_columns
from dhrd.data.row import BadRow, Row


def test_what_a_label_can_be_and_what_spells_a_date() -> None:
    values = {"a": 1, "b": 0.5, "c": datetime(2024, 1, 31), "d": "2024-01-31", "e": "1.2.3", "f": ["x"], "g": 10**400}
    looks = {look.name: look for look in look_at_columns([Row("x:1", values)])}
    assert {name for name, look in looks.items() if look.is_label} == {"a", "d", "e", "f", "g"}
    assert {name for name, look in looks.items() if look.is_date} == {"d"}


def test_values_are_counted_as_labels_are() -> None:
    values = [["yes", "no"], ["yes ", "\tno"], [" yes", "no\u00a0"]]
    rows = [Row("x:1", {"text": yes, "other": no, "number": 1, "both": [yes, no]}) for yes, no in values]
    looks = look_at_columns([*rows, Row("x:4", {"number": 1.0})])
    assert {look.name: look.num_distinct for look in looks} == {"text": 1, "other": 1, "number": 1, "both": 2}


def test_ids_are_text_or_whole_numbers() -> None:
    """In every format the same columns: a file of CSV spells its numbers."""
    keys = {"text": "a", "code": "007", "whole": 7, "float": 7.0, "spelled": "7.0", "hash": "12e4"}
    others = {"amount": 1.37, "price": "1.37", "when": datetime(2024, 1, 31), "object": {"id": 1}, "flag": True}
    rows = [Row("x:1", {**keys, **others}), Row("x:2", {**keys, **others, "hash": "b2e4"})]
    looks = look_at_columns(rows)
    assert {look.name for look in looks if look.is_key} == keys.keys()
    mixed = [Row("x:1", {"code": "1.37"}), Row("x:2", {"code": "A2"})]
    assert all(look.is_key for look in look_at_columns(mixed))


def test_what_a_column_holds() -> None:
    rows = [Row("x:1", {"a": "one two", "n": "1.5", "l": ["p"]}), BadRow("x:2", "torn"), Row("x:3", {"a": " ", "n": 2})]
    a, n, listed = look_at_columns(rows)
    assert (a.num_rows, a.num_filled, a.num_distinct, a.mean_words) == (2, 1, 1, 2.0)
    assert a.is_text and not a.is_number and not a.is_always_filled
    assert n.is_number and not n.is_text and n.is_always_filled
    assert (listed.is_text, listed.num_filled) == (False, 1)
