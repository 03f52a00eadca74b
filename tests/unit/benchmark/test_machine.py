"""Operations and rates count what they say."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from dhrd.benchmark import machine
from dhrd.model.flops import causal_pairs, forward_cost
from helpers.models import FAMILIES, make_causal_lm


@pytest.mark.parametrize("family", FAMILIES)
def test_a_forward_pass_costs_what_torch_counts(family: str) -> None:
    body = make_causal_lm(family, attn_implementation="eager").base_model
    num_tokens = 11
    counter = FlopCounterMode(display=False)
    with counter, torch.inference_mode():
        body(input_ids=torch.arange(num_tokens)[None], use_cache=False)
    counted = sum(counter.get_flop_counts()["Global"].values())
    # eager attention multiplies the masked pairs, too; llama's rotations are products of positions with frequencies
    expected = forward_cost(body).flops(num_tokens, num_tokens**2)
    assert counted == pytest.approx(expected, rel=0.02)


def test_pairs_of_a_causal_sequence() -> None:
    assert [causal_pairs(n) for n in (0, 1, 4)] == [0, 1, 1 + 2 + 3 + 4]
    assert causal_pairs(3, num_before=10) == 11 + 12 + 13


def test_a_matmul_is_two_operations_a_multiply_add(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([0.0, 4.0, 10.0, 12.0])  # two repeats, of 4 and 2 seconds
    monkeypatch.setattr(machine.time, "perf_counter", lambda: next(ticks))
    rate = machine.matmul_rate(3, 5, 7, torch.float32, torch.device("cpu"), repeats=2)
    assert rate == 2 * 3 * 5 * 7 / 2


def test_the_rate_at_a_models_shapes_is_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    body = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Linear(8, 2), torch.nn.Linear(8, 2))
    rates = {(2, 8): 10.0, (8, 2): 40.0}
    monkeypatch.setattr(machine, "matmul_rate", lambda m, k, n, *_: rates[k, n])
    found = machine.matmul_flops_per_second_of(body, 5, torch.float32, torch.device("cpu"))
    each = 2 * 5 * 2 * 8
    assert found == pytest.approx(3 * each / (each / 10 + 2 * each / 40))


def test_conditions_name_the_machine_and_the_libraries() -> None:
    found = machine.conditions(torch.device("cpu"), torch.bfloat16)
    assert (found.dtype, found.threads) == ("bfloat16", torch.get_num_threads())
    assert found.capability == torch.backends.cpu.get_cpu_capability()
    assert {"dhrd", "torch"} <= set(found.versions)
    assert "settings" not in found.model_dump()  # it was not told
