"""What torch keeps between updates goes back as it was, or is refused before anything is changed."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
import torch

from dhrd.training.step import TrainState, train_step
from dhrd.training.torch_state import optimizer_state, restore_optimizer, restore_rng, rng_state
from helpers.models import make_batch, make_model, rows, step_of

CPU = torch.device("cpu")


def trained(num_updates: int, seed: int = 0) -> TrainState:
    model = make_model("llama", seed=seed)
    state = step_of(model, learning_rate=1e-3, schedule="linear")
    for step in range(1, num_updates + 1):
        train_step(state, [make_batch(rows(), model)], step)
    return state


def copied(state: TrainState) -> dict[str, Any]:
    """As a checkpoint's file would have it."""
    kept = optimizer_state(state)
    moments = {i: {n: t.clone() for n, t in of.items()} for i, of in kept["optimizer"]["state"].items()}
    return {**kept, "optimizer": {**kept["optimizer"], "state": moments}, "schedule": dict(kept["schedule"])}


def test_moments_and_rates_go_back() -> None:
    first, other = trained(3), trained(1, seed=1)
    restore_optimizer(other, copied(first))
    ours, theirs = optimizer_state(other), optimizer_state(first)
    assert ours["schedule"]["last_epoch"] == theirs["schedule"]["last_epoch"] == 3
    assert ours["optimizer"]["param_groups"][0]["lr"] == theirs["optimizer"]["param_groups"][0]["lr"]
    for index, moments in theirs["optimizer"]["state"].items():
        assert torch.equal(ours["optimizer"]["state"][index]["exp_avg"], moments["exp_avg"])


def another_shape(kept: dict[str, Any]) -> None:
    kept["optimizer"]["state"][0]["exp_avg"] = kept["optimizer"]["state"][0]["exp_avg"][:-1]


def another_type(kept: dict[str, Any]) -> None:
    kept["optimizer"]["state"][0]["exp_avg"] = kept["optimizer"]["state"][0]["exp_avg"].double()


def more_tensors(kept: dict[str, Any]) -> None:
    kept["optimizer"]["state"][999] = kept["optimizer"]["state"][0]


def no_schedule(kept: dict[str, Any]) -> None:
    del kept["schedule"]


@pytest.mark.parametrize(
    ("harm", "part"),
    [
        (another_shape, r"the state of tensor 0\.exp_avg is of"),
        (another_type, r"the state of tensor 0\.exp_avg is of"),
        (more_tensors, "it is of more than the"),
        (no_schedule, "the state has other parts"),
    ],
)
def test_another_form_is_refused_before_anything_changes(harm: Callable[[dict[str, Any]], None], part: str) -> None:
    first, other = trained(2), trained(1, seed=1)
    before, kept = copied(other), copied(first)
    harm(kept)
    with pytest.raises(ValueError, match=part):
        restore_optimizer(other, kept)
    after = optimizer_state(other)["optimizer"]["state"]
    assert all(torch.equal(after[i]["exp_avg"], of["exp_avg"]) for i, of in before["optimizer"]["state"].items())


def test_every_generator_goes_on_where_it_was() -> None:
    draw = lambda: (random.random(), float(np.random.rand()), float(torch.rand(())))  # noqa: E731
    state = rng_state(CPU)
    first = draw()
    assert draw() != first
    restore_rng(state, CPU)
    assert draw() == first


def test_a_generators_state_of_another_form_is_refused() -> None:
    state = rng_state(CPU)
    with pytest.raises(ValueError, match="the state of torch's generator is of"):
        restore_rng({**state, "torch": state["torch"][:-1]}, CPU)


class Gpus:
    """GPUs that are not there, each with a generator.

    Args:
        seeds: One per GPU; the first GPU is the current one.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *seeds: int) -> None:
        self.states = [seeded(seed) for seed in seeds]
        monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
        monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: self.states[device.index or 0])
        monkeypatch.setattr(torch.cuda, "set_rng_state", self._set)

    def _set(self, state: torch.Tensor, device: torch.device) -> None:
        self.states[device.index or 0] = state


def seeded(seed: int) -> torch.Tensor:
    return torch.full((16,), seed, dtype=torch.uint8)


def seeds_of(states: Iterable[torch.Tensor]) -> list[int]:
    return [int(state[0]) for state in states]


def test_only_the_runs_gpu_is_kept_and_any_gpu_goes_on_with_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    Gpus(monkeypatch, 1, 2, 3)
    state = rng_state(torch.device("cuda:1"))
    assert torch.equal(state["cuda"], seeded(2))
    one = Gpus(monkeypatch, 9)
    restore_rng(state, torch.device("cuda:0"))
    assert seeds_of(one.states) == [2]
    others = Gpus(monkeypatch, 7, 8, 9)
    restore_rng(state, torch.device("cuda:2"))
    assert seeds_of(others.states) == [7, 8, 2]
    restore_rng(state, CPU)
    assert "cuda" not in rng_state(CPU)
    assert not caplog.messages


@pytest.mark.parametrize(("device", "expected"), [("cuda", [1, 8]), ("cuda:0", [1, 8]), ("cuda:1", [7, 2])])
def test_of_an_earlier_versions_list_the_gpus_own_state_is_read(
    monkeypatch: pytest.MonkeyPatch, device: str, expected: list[int]
) -> None:
    gpus = Gpus(monkeypatch, 7, 8)
    restore_rng({**rng_state(CPU), "cuda": [seeded(seed) for seed in (1, 2, 3, 4)]}, torch.device(device))
    assert seeds_of(gpus.states) == expected


@pytest.mark.parametrize("kept", [{"cuda": [seeded(1)]}, {}], ids=["of fewer GPUs", "of a CPU"])
def test_a_gpu_without_a_state_keeps_its_own_and_that_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, kept: dict[str, Any]
) -> None:
    gpus, state = Gpus(monkeypatch, 7, 8), rng_state(CPU)
    first = float(torch.rand(()))
    with caplog.at_level(logging.WARNING, "dhrd"):
        restore_rng({**state, **kept}, torch.device("cuda:1"))
    assert float(torch.rand(())) == first
    assert seeds_of(gpus.states) == [7, 8]
    assert caplog.messages == ["the checkpoint has no random state of cuda:1: dropout goes on with other numbers"]


def test_a_gpus_state_of_another_form_is_refused_before_anything_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = Gpus(monkeypatch, 7)
    state = {**rng_state(CPU), "cuda": seeded(1)[:-1]}
    torch.rand(())
    before = torch.get_rng_state()
    with pytest.raises(ValueError, match="the state of cuda's generator is of"):
        restore_rng(state, torch.device("cuda:0"))
    assert torch.equal(torch.get_rng_state(), before)
    assert seeds_of(gpus.states) == [7]
