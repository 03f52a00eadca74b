"""How a report's numbers are written, in the page, its figures and Markdown alike."""

from __future__ import annotations

from collections.abc import Callable

from dhrd.experiments.report.schema import Interval, Number
from dhrd.experiments.study import Settings
from dhrd.metrics.metrics import higher_is_better

NOTHING = "–"

_METRICS = {"macro_f1": "macro F1", "micro_f1": "micro F1", "weighted_f1": "weighted F1", "f1a": "F1a", "em": "EM"}


def points(value: Number) -> str:
    """A difference of two shares in percentage points, always with its sign."""
    if value is None:
        return NOTHING
    text = f"{100 * value:+.1f}"
    return "0.0" if float(text) == 0 else text.replace("-", "−")


def points_range(interval: Interval | None) -> str:
    """An interval of a difference in percentage points."""
    return _range(interval, points)


def _range(interval: Interval | None, write: Callable[[Number], str]) -> str:
    return f"{write(interval[0])} to {write(interval[1])}" if interval else NOTHING


def _or_dash(write: Callable[[float], str]) -> Callable[[Number], str]:
    return lambda value: NOTHING if value is None else write(value)


def _metric(value: Number, name: str | None) -> str:
    """A share in percent; a loss as it is."""
    if value is None:
        return NOTHING
    return f"{100 * value:.1f}" if higher_is_better(name or "") else f"{value:.3f}"


def _change(value: Number, name: str) -> str:
    """A difference of a metric: points, or a loss as it is."""
    if value is None or higher_is_better(name):
        return points(value)
    return f"{value:+.3f}".replace("-", "−")


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


def _settings(chosen: Settings) -> str:
    """Settings with their values on one line."""
    return ", ".join(f"{name} {NOTHING if value is None else value}" for name, value in chosen.items()) or NOTHING


FILTERS: dict[str, Callable[..., str]] = {
    "metric": _metric,
    "metric_range": lambda interval, name: _range(interval, lambda end: _metric(end, name)),
    "change": _change,
    "change_range": lambda interval, name: _range(interval, lambda end: _change(end, name)),
    "points": points,
    "points_range": points_range,
    "percent": _or_dash(lambda value: f"{100 * value:.1f} %"),
    "whole": _or_dash(lambda value: f"{value:,.0f}"),
    "three": _or_dash(lambda value: f"{value:.3f}"),
    "tenths": _or_dash(lambda value: f"{value:,.1f}" if value else "0"),
    "times": _or_dash(lambda value: "1 ×" if value == 1 else f"{_rate(value)} ×"),
    "rate": _or_dash(_rate),
    "gain": _or_dash(lambda value: f"{value:+.2f} %".replace("-", "−")),
    "p": _or_dash(_p_value),
    "duration": _or_dash(_duration),
    "name": lambda metric: NOTHING if metric is None else _METRICS.get(metric, metric.replace("_", " ")),
    "settings": _settings,
}
"""What templates may write a value with; nothing known is a dash."""
