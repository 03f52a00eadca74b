"""`dhrd reproduce`."""

from __future__ import annotations

import sys

import pytest

SECRETS = [
    "teacher.base_url=https://ann:hush@host/v1?key=hush",
    "teacher.name=openai:x",
    "tracking.uri=postgresql://ann:hush@host/db",
]


def test_a3_a_reports_command_hides_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """A3: report.md says by which command it was made."""
    from dhrd.cli.reproduce import _command

    monkeypatch.setattr(sys, "argv", ["dhrd", "reproduce", "main", "--set", SECRETS[0]])
    assert "hush" not in _command()
    assert "https://***@host/v1" in _command()
