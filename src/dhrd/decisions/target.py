"""Targets for answered rows: `accuracy>=0.95`, `precision:LABEL>=0.9`, `recall:LABEL>=0.9`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

from dhrd._text import shown
from dhrd.errors import ConfigError

Measure = Literal["accuracy", "precision", "recall"]

_TARGET = re.compile(
    r"(?P<measure>accuracy|(?P<labelled>precision|recall):(?P<label>.+?))\s*>=\s*(?P<level>[0-9.eE+-]+)"
)
_FORMS = "accuracy>=0.95, precision:LABEL>=0.9 or recall:LABEL>=0.9"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A minimum share among the answered rows.

    Args:
        measure: `accuracy`: share of right answers (multi-label: all labels right). `precision`: share of right answers
            among rows answered with `label`. `recall`: share answered with `label` among rows that have it.
        level: The minimum share, between 0 and 1.
        label: The label for `precision` and `recall`; "" for `accuracy`.
    """

    measure: Measure
    level: float
    label: str = ""

    def __post_init__(self) -> None:
        assert 0 < self.level < 1, f"a level is between 0 and 1, got {self.level}"
        assert bool(self.label) == (self.measure != "accuracy"), f"{self.measure} of label {self.label!r}"

    def __str__(self) -> str:
        return f"{self.measure}{':' * bool(self.label)}{self.label}>={self.level:g}"


def parse_target(text: str, labels: Sequence[str]) -> Target:
    """Parse a target.

    Args:
        text: A target in one of the three forms above.
        labels: The valid names for LABEL.

    Raises:
        ConfigError: It has another form, an unknown label, or a level that is not between 0 and 1.

    Example:
        >>> str(parse_target("precision:spam >= 0.9", ["ham", "spam"]))
        'precision:spam>=0.9'
    """
    match = _TARGET.fullmatch(text.strip())
    if match is None:
        quoted = "" if ">" in text else ", in quotes, as the shell treats > as a redirection"
        raise ConfigError(f"target {shown(text)}: not a target; give {_FORMS}{quoted}")
    label = match["label"] or ""
    if label and label not in labels:
        raise ConfigError(f"target {shown(text)}: no label {shown(label)}; labels are {', '.join(labels)}")
    try:
        level = float(match["level"])
    except ValueError:
        raise ConfigError(f"target {shown(text)}: {match['level']} is not a number; give {_FORMS}") from None
    if not 0 < level < 1:
        raise ConfigError(f"target {shown(text)}: cannot be shown by any number of rows; give a level between 0 and 1")
    return Target(measure=cast(Measure, match["labelled"] or "accuracy"), level=level, label=label)
