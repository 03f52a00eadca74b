"""Operations and rates count what they say."""

from __future__ import annotations

import mmap
import sys

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from dhrd.benchmark import machine, measure
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


def test_latency_is_percentiles_of_single_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    ends = [0.1 * number for number in range(1, 101)]
    ticks = iter([tick for end in ends for tick in (0.0, end)])
    monkeypatch.setattr(measure.time, "perf_counter", lambda: next(ticks))
    asked: list[int] = []
    found = measure.latency(asked.append, range(100))
    assert asked == [0, *range(100)]
    assert found["num_requests"] == 100
    assert found["p50_ms"] == pytest.approx(5050)
    assert found["p99_ms"] == pytest.approx(9901)


def touch(num_bytes: int) -> None:
    """Take memory from the system, not from what an allocator has kept, and give it back."""
    with mmap.mmap(-1, num_bytes) as block:
        block.write(b"x" * num_bytes)


def test_peak_memory_sees_what_was_freed_again() -> None:
    size = 64 * 2**20
    found = measure.peak_memory(touch, size, torch.device("cpu"))
    if found is None:
        pytest.skip("this system cannot forget a peak")
    assert size * 0.9 < found["peak_increase_bytes"] < size * 2.5
    assert found["peak_memory_bytes"] > size
    again = measure.peak_memory(lambda _: None, size, torch.device("cpu"))
    assert again is not None
    assert again["peak_increase_bytes"] < size / 2


def test_spread() -> None:
    assert measure.spread([3.0, 1.0, 10.0]) == {"median": 3, "min": 1, "max": 10}


def test_time_is_shared_out_among_kinds_of_operators(capfd: pytest.CaptureFixture[str]) -> None:
    a, q = torch.randn(700, 700), torch.randn(4, 2, 300, 16)

    def attend() -> None:
        torch.nn.functional.scaled_dot_product_attention(q, q, q, is_causal=True)

    kinds = {"matrix_products": lambda: a @ a, "attention": attend, "rest": lambda: a.exp().log().sin()}
    for kind, run in kinds.items():
        run()
        found = measure.time_share(run, torch.device("cpu"))
        assert sum(found["time_share"].values()) == pytest.approx(1)
        assert max(found["time_share"], key=found["time_share"].__getitem__) == kind
        assert sum(found["operator_time_share"].values()) <= 1 + 1e-9
    print("heard", file=sys.stderr)
    assert capfd.readouterr().err == "heard\n"
