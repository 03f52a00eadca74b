"""The documents' trainer: a loader's batches through the one loop."""

from __future__ import annotations

import math

import pytest
import torch
from torch.utils.data import DataLoader

from dhrd.compat.dataset import DHRDDataset
from dhrd.compat.trainer import DHRDTrainer, LoaderUpdates
from dhrd.data.records import LabelSet
from dhrd.errors import NonFiniteError
from dhrd.training.step import train_step
from helpers.models import make_model, rows, step_of


def loader(count: int = 10, size: int = 4) -> DataLoader[object]:
    data = DHRDDataset(rows(count), LabelSet(("a", "b", "c")), pad_token_id=0)
    return DataLoader(data, batch_size=size, collate_fn=data.collate_fn)


def test_each_batch_is_an_update() -> None:
    updates = LoaderUpdates(loader())
    assert updates.updates_per_epoch == 3
    assert [[len(batch.ids) for batch in batches] for batches in updates.epoch(0)] == [[4], [4], [2]]
    assert [[len(batch.ids) for batch in batches] for batches in updates.epoch(1, start=2)] == [[2]]


def test_every_update_and_evaluation_is_in_the_history() -> None:
    history = DHRDTrainer(make_model("llama"), loader(), eval_dataloader=loader(6)).train(num_epochs=2)
    assert [row["step"] for row in history if "loss" in row] == [1, 2, 3, 4, 5, 6]
    assert [row["step"] for row in history if "eval_accuracy" in row] == [3, 6]
    assert not [row for row in DHRDTrainer(make_model("llama"), loader()).train(1) if "eval_accuracy" in row]


def test_an_update_is_that_of_a_run() -> None:
    """With the optimizer that is given: the same loss and the same weights after it."""
    ours, theirs = make_model("llama"), make_model("llama")
    optimizer = torch.optim.AdamW(ours.parameters(), lr=1e-3, weight_decay=0.0)
    (row,) = DHRDTrainer(ours, loader(4), optimizer=optimizer).train(num_epochs=1)
    state = step_of(theirs, learning_rate=1e-3, head_learning_rate=1e-3, weight_decay=0.0, clip_norm=1.0)
    log = train_step(state, [next(iter(loader(4)))], 1)
    assert row["loss"] == pytest.approx(log["loss"], rel=1e-3)
    assert row["learning_rate"] == 1e-3
    moved = [(a - b).detach().abs().max() for a, b in zip(ours.parameters(), theirs.parameters(), strict=True)]
    assert max(map(float, moved)) < 2e-3


def test_a_loss_that_is_not_finite_ends_it() -> None:
    model = make_model("llama")
    with torch.no_grad():
        model.head.score.weight[0, 0] = math.nan
    with pytest.raises(NonFiniteError, match="step 1: classification_loss is nan"):
        DHRDTrainer(model, loader()).train(1)
