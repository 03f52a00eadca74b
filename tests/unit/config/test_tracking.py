"""The settings of the trackers: one alone is a list of one, and others are refused."""

from __future__ import annotations

import pytest

from dhrd.config import resolve
from dhrd.errors import ConfigError


def test_one_tracker_is_a_list_of_one() -> None:
    assert resolve({"tracking": {"report_to": "mlflow"}}).tracking.report_to == ("mlflow",)


def test_a_tracker_that_there_is_not_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"tracking\.report_to"):
        resolve({"tracking": {"report_to": "paper"}})
