"""Values as JSON that any reader takes."""

from __future__ import annotations

import json
import math
from typing import Any


def json_line(value: Any) -> bytes:
    """A line of `json_text`, a lone surrogate as its escape."""
    return f"{json_text(value)}\n".encode("utf-8", "backslashreplace")


def json_text(value: Any) -> str:
    """A value as JSON; what that lacks, such as a date, a decimal or an infinite number, as its text, NaN as null."""
    try:
        return json.dumps(value, ensure_ascii=False, default=str, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value), ensure_ascii=False, default=str)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else "-Infinity" if value < 0 else "Infinity"
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    return [_finite(part) for part in value] if isinstance(value, list | tuple) else value
