"""Values of other libraries as plain ones. The letters name reported cases."""

from __future__ import annotations

import enum
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest
import torch

from dhrd.config import DataSettings
from dhrd.data.records import Example
from dhrd.data.templates import InputTemplate
from helpers.reading import error_of, load, read, refused


class _Word(str, enum.Enum):  # noqa: UP042  # its str() is its name, unlike StrEnum's
    GOOD = "good"
    BAD = "bad"


class _Number(int, enum.Enum):
    ONE = 1
    TWO = 2


def test_l15_members_of_an_enumeration_are_their_values() -> None:
    found = read([{"input_text": _Word.GOOD, "label": _Word.BAD, "id": _Number.ONE}])[0]
    assert (found.input_text, found.label, found.id) == ("good", "bad", "1")
    assert InputTemplate("{{ n }}").render(read([{"input_text": "a", "label": 1, "n": _Number.TWO}])[0].fields) == "2"


def test_l17_whole_numbers_of_any_type_are_ids() -> None:
    ids = [7, 7.0, Decimal("7.00"), np.float32(7), np.int8(7)]
    assert {read([{"input_text": "a", "label": "x", "id": one}])[0].id for one in ids} == {"7"}
    assert "neither text nor an integer" in refused([{"input_text": "a", "label": "x", "id": Decimal("7.5")}])
    assert "neither text nor an integer" in refused([{"input_text": "a", "label": "x", "id": Decimal("Infinity")}])
    for huge in ("1e999999999", "-1e999999999"):
        assert "label: Decimal" in refused([{"input_text": "a", "label": Decimal(huge)}])


MISSING = [float("nan"), None, pd.NA, pd.NaT, np.float64("nan"), np.datetime64("NaT"), Decimal("NaN"), np.ma.masked]


@pytest.mark.parametrize("value", MISSING, ids=lambda value: type(value).__name__)
def test_s6_the_missing_values_of_every_library_are_null(value: Any) -> None:
    template = DataSettings(input_template="{{ amount }} EUR")
    assert "a column that it uses is null" in error_of([{"amount": value}], template, labels_required=False)
    nested = DataSettings(input_template="{{ amounts[0] }} EUR")
    assert "is null" in error_of([{"amounts": [value]}], nested, labels_required=False)
    optional = DataSettings(input_template='{{ input_text }}{{ amount or "" }}')
    (row,) = load([{"input_text": "a", "amount": value, "id": value, "rationale": value, "label": "x"}], optional)
    assert (row.rationale, row.id) == (None, row.digest)


def test_l15_values_of_other_libraries_are_taken(tmp_path: Path) -> None:
    rows = [
        {"input_text": np.str_("a"), "label": np.array(["x", "y"]), "id": np.int64(3)},
        {"input_text": "b", "label": ("x",), "id": torch.tensor(4)},
        {"input_text": "c", "label": {"y", "x"}, "id": pyarrow.scalar(5)},
        {"input_text": "d", "label": pd.Series(["y"]), "id": 6.0},
    ]
    found = load(rows)
    assert [row.label for row in found] == [("x", "y"), ("x",), ("x", "y"), ("y",)]
    assert [row.id for row in found] == ["3", "4", "5", "6"]
    assert type(found[0].input_text) is str
    assert load([{"input_text": "a", "label": np.int64(0)}])[0].label in (0, "0")
    assert load([Example(input_text="a", label=("x", "y"))])[0].label == ("x", "y")
