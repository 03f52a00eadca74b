"""What torch keeps between updates goes back as it was, or is refused before anything is changed."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from dhrd.training.step import TrainState, train_step
from dhrd.training.torch_state import optimizer_state, restore_optimizer, restore_rng, rng_state
from helpers.models import make_batch, make_model, rows, step_of


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
    state = rng_state()
    first = draw()
    assert draw() != first
    restore_rng(state)
    assert draw() == first


def test_a_generators_state_of_another_form_is_refused() -> None:
    state = rng_state()
    with pytest.raises(ValueError, match="the state of torch's generator is of"):
        restore_rng({**state, "torch": state["torch"][:-1]})
