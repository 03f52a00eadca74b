"""How a report's numbers are written, in the page, its figures and Markdown alike."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from dhrd.evaluation.metrics import higher_is_better


def is_number(value: Any) -> bool:
    """Whether there is a finite number, rather than nothing or NaN."""
    return isinstance(value, (int, float)) and math.isfinite(value)


def is_interval(value: Any) -> bool:
    """Whether there are two finite ends."""
    return isinstance(value, (list, tuple)) and len(value) == 2 and all(is_number(end) for end in value)


def excludes_zero(interval: Any) -> bool:
    """Whether an interval is there and lies on one side of zero."""
    return is_interval(interval) and (interval[0] > 0 or interval[1] < 0)


def points(value: Any) -> str:
    """A difference of two shares in percentage points, always with its sign."""
    if not is_number(value):
        return "–"
    text = f"{100 * value:+.1f}"
    return "0.0" if float(text) == 0 else text.replace("-", "−")


def points_range(interval: Any) -> str:
    """An interval of a difference in percentage points."""
    return f"{points(interval[0])} to {points(interval[1])}" if is_interval(interval) else "–"


def _or_dash(write: Callable[[Any], str]) -> Callable[[Any], str]:
    return lambda value: write(value) if is_number(value) else "–"


def _metric(value: Any, name: str) -> str:
    """A share in percent; a loss as it is."""
    if not is_number(value):
        return "–"
    return f"{100 * value:.1f}" if higher_is_better(name) else f"{value:.3f}"


def _metric_range(interval: Any, name: str) -> str:
    return f"{_metric(interval[0], name)} to {_metric(interval[1], name)}" if is_interval(interval) else "–"


def _change(value: Any, name: str) -> str:
    """A difference of a metric: points, or a loss as it is."""
    if not is_number(value) or higher_is_better(name):
        return points(value)
    return f"{value:+.3f}".replace("-", "−")


def _change_range(interval: Any, name: str) -> str:
    return f"{_change(interval[0], name)} to {_change(interval[1], name)}" if is_interval(interval) else "–"


def _p_value(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{seconds:.1f} s"


def _rate(value: float) -> str:
    """Three digits that mean something, never in powers of ten."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 0.1 else f"{value:.3g}"


def _name(metric: Any) -> str:
    """A metric as people write it."""
    known = {"macro_f1": "macro F1", "micro_f1": "micro F1", "weighted_f1": "weighted F1", "f1a": "F1a", "em": "EM"}
    return known.get(str(metric), str(metric).replace("_", " ")) if metric is not None else "–"


def _settings(chosen: dict[str, Any]) -> str:
    """Settings with their values on one line."""
    return ", ".join(f"{name} {'–' if value is None else value}" for name, value in chosen.items()) or "–"


FILTERS: dict[str, Callable[..., Any]] = {
    "metric": _metric,
    "metric_range": _metric_range,
    "change": _change,
    "change_range": _change_range,
    "points": points,
    "points_range": points_range,
    "percent": _or_dash(lambda value: f"{100 * value:.1f} %"),
    "whole": _or_dash(lambda value: f"{value:,.0f}"),
    "three": _or_dash(lambda value: f"{value:.3f}"),
    "one": _or_dash(lambda value: f"{value:,.1f}" if value else "0"),
    "times": _or_dash(lambda value: "1 ×" if value == 1 else f"{_rate(value)} ×"),
    "rate": _or_dash(_rate),
    "gain": _or_dash(lambda value: f"{value:+.2f} %".replace("-", "−")),
    "p": _or_dash(_p_value),
    "duration": _or_dash(_duration),
    "name": _name,
    "settings": _settings,
    "excludes_zero": excludes_zero,
    "known": is_number,
}
"""What templates may write a value with; nothing known is a dash."""
