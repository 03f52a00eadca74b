"""Settings that are no more: idle ones of an earlier version are read, used ones are refused with the reason."""

from __future__ import annotations

import pytest

from dhrd.config import RunConfig
from dhrd.config.load import resolve
from dhrd.config.retired import without_retired
from dhrd.errors import ConfigError


def test_what_an_earlier_version_wrote_is_read_where_it_did_not_use_the_setting() -> None:
    recorded = RunConfig(loss={"keyword_weight": 0.5}).model_dump(mode="json")
    recorded["loss"]["alignment_weight"] = 0.0
    recorded["data"]["order"] = "reason_first"
    recorded["model"] |= {"reasoning_bottleneck": False, "bottleneck_tokens": 1, "bottleneck_share": 1.0}
    assert resolve(recorded) == RunConfig(loss={"keyword_weight": 0.5})
    assert recorded["loss"]["alignment_weight"] == 0.0  # the caller's own is left as it is


def test_a_value_that_changed_something_is_refused_with_the_reason() -> None:
    with pytest.raises(ConfigError) as caught:
        resolve({"loss": {"alignment_weight": 0.5}, "seed": -1}, source="run.json")
    first, second = str(caught.value).splitlines()
    assert first == (
        "run.json: loss.alignment_weight: 0.5 is no longer supported, as it did not improve results; leave it out"
    )
    assert "seed" in second


@pytest.mark.parametrize("tree", [{}, {"loss": None}, {"loss": 3}, {"loss": {}}])
def test_sections_that_are_missing_or_none_are_left_to_the_schema(tree: dict[str, object]) -> None:
    assert without_retired(tree) == (tree, [])
