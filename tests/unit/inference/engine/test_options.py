"""How the engine runs, and what it counts."""

from __future__ import annotations

import pytest
import torch

from dhrd.data.prefixes import Group, Pack, SharingCost, plan_sharing
from dhrd.errors import ConfigError
from dhrd.inference.engine.options import Options, Work


def test_what_suits_a_device_may_be_bounded() -> None:
    cpu, gpu = Options.best(torch.device("cpu")), Options.best(torch.device("cuda"))
    assert cpu.max_tokens_per_pass < gpu.max_tokens_per_pass
    assert Options.best(torch.device("cpu"), 100, share_prefixes=False) == Options(
        max_tokens_per_pass=100, pass_overhead_tokens=cpu.pass_overhead_tokens, share_prefixes=False
    )


def test_prefixes_are_kept_for_who_asks_and_no_more_than_a_pass_has() -> None:
    device = torch.device("cpu")
    assert Options.best(device).max_kept_tokens == 0
    assert Options.best(device, 100, keep_prefixes=True).max_kept_tokens == 100
    assert Options.best(device, keep_prefixes=True, share_prefixes=False).max_kept_tokens == 0
    with pytest.raises(ConfigError, match="`max_kept_tokens`: give a whole number of at least 0"):
        Options(max_tokens_per_pass=1, pass_overhead_tokens=0, max_kept_tokens=-1)


@pytest.mark.parametrize("value", [0, -1, 1.5, "8", True, None])
def test_a_count_is_a_whole_number(value: object) -> None:
    with pytest.raises(ConfigError, match="`max_tokens_per_pass`: give a whole number of at least 1"):
        Options(max_tokens_per_pass=value, pass_overhead_tokens=0)  # type: ignore[arg-type]


def test_work_counts_what_a_plan_needs() -> None:
    inputs, work = [[1, 2, 3], [1, 2, 3], [1, 2, 4, 5]], Work()
    work.count(plan_sharing(inputs, SharingCost(pair=0.0)), inputs)
    assert (work.num_rows, work.num_tokens, work.num_needed_tokens) == (3, 10, 5)
    assert work.num_needed_pairs == 1 + 2 + 3 + 3 + 4
    assert work.sharing_ratio == 2
    assert work.padding_ratio == 0  # nothing was run


def test_what_is_kept_was_not_computed() -> None:
    work = Work()
    work.count([Group((Pack((0,), (5,), 2),), 5, 3)], [[1] * 7])
    assert (work.num_tokens, work.num_needed_tokens, work.num_needed_pairs) == (7, 2 + 2, (4 + 5) + (6 + 7))


def test_work_since_then_is_a_difference() -> None:
    before, after = Work(num_rows=2, num_passes=1), Work(num_rows=5, num_passes=3, num_run_tokens=7)
    assert after - before == Work(num_rows=3, num_passes=2, num_run_tokens=7)
