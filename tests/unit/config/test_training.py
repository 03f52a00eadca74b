"""The settings of the optimisation: what they may be."""

from __future__ import annotations

import re

import pytest

from dhrd.config import resolve
from dhrd.errors import ConfigError


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"training": {"learning_rate": 0}}, "training.learning_rate: input should be greater than 0, got 0"),
        ({"training": {"learning_rate": float("inf")}}, "training.learning_rate"),
        ({"training": {"batch_size": 2.5}}, "training.batch_size"),
    ],
)
def test_a_setting_that_cannot_work_is_refused(tree: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        resolve(tree)


@pytest.mark.parametrize("off", [False, "no"])
def test_no_precision_may_be_written_without_quotes(off: object) -> None:
    """YAML reads a bare `no` as false."""
    assert resolve({"training": {"mixed_precision": off}}).training.mixed_precision == "no"
