"""Targets as they are written."""

from __future__ import annotations

import pytest

from dhrd.decisions.target import Target, parse_target
from dhrd.errors import ConfigError

LABELS = ["ham", "spam", "spam:sure >= 2"]


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("accuracy>=0.95", Target(measure="accuracy", level=0.95)),
        (" accuracy >= .9 ", Target(measure="accuracy", level=0.9)),
        ("precision:spam>=0.9", Target(measure="precision", level=0.9, label="spam")),
        ("recall:ham>=1e-1", Target(measure="recall", level=0.1, label="ham")),
        ("recall:spam:sure >= 2>=0.5", Target(measure="recall", level=0.5, label="spam:sure >= 2")),
    ],
)
def test_forms(text: str, target: Target) -> None:
    assert parse_target(text, LABELS) == target
    assert parse_target(str(target), LABELS) == target


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("accuracy>0.95", "not a target"),
        ("accuracy", "in quotes, as the shell treats > as a redirection"),
        ("f1>=0.95", "not a target"),
        ("accuracy:spam>=0.9", "not a target"),
        ("precision>=0.9", "not a target"),
        ("precision:eggs>=0.9", "no label 'eggs'; labels are ham, spam"),
        ("accuracy>=1.0.0", "is not a number"),
        ("accuracy>=1", "between 0 and 1"),
        ("accuracy>=0", "between 0 and 1"),
        ("accuracy>=95", "between 0 and 1"),
    ],
)
def test_other_forms_are_refused(text: str, part: str) -> None:
    with pytest.raises(ConfigError, match=part):
        parse_target(text, LABELS)
