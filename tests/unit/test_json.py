"""Values as JSON that any reader takes."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal

import numpy as np
import pytest

from dhrd._json import json_text


def test_numbers_that_json_lacks() -> None:
    """As text, so that any reader of JSON takes the line; NaN stands for nothing."""
    inf, value = float("inf"), {"a": [1.5, float("inf"), {"b": (-float("inf"), float("nan"))}], "c": "Infinity"}
    assert json.loads(json_text(value), parse_constant=pytest.fail) == {
        "a": [1.5, "Infinity", {"b": ["-Infinity", None]}], "c": "Infinity"
    }  # fmt: skip
    assert json_text(np.float64("-inf")) == '"-Infinity"'
    assert json_text(Decimal("Infinity")) == json_text(inf) == '"Infinity"'
    assert json_text({"on": date(2025, 11, 2)}) == '{"on": "2025-11-02"}'
