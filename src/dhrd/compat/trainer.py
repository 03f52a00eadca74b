"""The DHRD documents' trainer: a thin layer over `fit`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch.utils.data import DataLoader

from dhrd.compat.evaluator import DHRDEvaluator
from dhrd.compat.loader import check_labels, labels_of
from dhrd.config import RunConfig, TrainingSettings
from dhrd.data.records import Batch
from dhrd.metrics.metrics import numbers
from dhrd.model.dual_head import DualHeadModel
from dhrd.training.loop import Monitor, fit
from dhrd.training.setup import choose_precision, make_accelerator
from dhrd.training.step import TrainState
from dhrd.training.trackers.mlflow import THIS_PROCESS, MlflowTracker
from dhrd.training.trackers.opened import told_the_end
from dhrd.training.trackers.tracker import Lasting, Tracker


class LoaderUpdates:
    """A DataLoader as updates of one batch each."""

    def __init__(self, loader: DataLoader[Any]) -> None:
        self._loader = loader

    @property
    def updates_per_epoch(self) -> int:
        """Batches in one pass over the loader."""
        return len(self._loader)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[list[Batch]]:
        """One batch an update, from the `start`-th on."""
        for index, batch in enumerate(self._loader):
            if index >= start:
                yield [batch]


class _History(Tracker):
    """Keeps what was logged."""

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []

    def log(self, values: Mapping[str, float], step: int) -> None:
        self.rows.append({"step": step, **values})


class DHRDTrainer:
    """Train a model on a DataLoader.

    For checkpoints, resuming, more than one process, and an artifact use `dhrd.train`.

    Args:
        model: The model.
        train_dataloader: Batches of `load_json_dataset(…)`.
        eval_dataloader: Evaluated after each epoch; None: no evaluation.
        optimizer: None: AdamW at 5e-5 with weight decay 0.01.
        device: Where to train.
    """

    def __init__(
        self,
        model: DualHeadModel,
        train_dataloader: DataLoader[Any],
        eval_dataloader: DataLoader[Any] | None = None,
        optimizer: torch.optim.Optimizer | None = None,
        device: str | torch.device = "cpu",
    ) -> None:
        self.model = model
        self.train_dataloader = train_dataloader
        self.eval_dataloader = eval_dataloader
        self.optimizer = optimizer or torch.optim.AdamW(model.parameters(), lr=5e-5, weight_decay=0.01)
        self.device = str(device)

    def train(self, num_epochs: int = 3) -> list[dict[str, float]]:
        """Train and return every logged row: losses of each update, metrics after each epoch.

        Raises:
            DataError: The loaders have other label sets, or another number of labels than the model.
            NonFiniteError: A loss or gradient is not finite.
        """
        self._check_labels()
        history = _History()
        trackers: list[Tracker] = [history]
        with told_the_end(trackers, None):
            self._fit(num_epochs, trackers)
        return history.rows

    def _check_labels(self) -> None:
        """Both loaders before anything is trained, and what the model is of from now on."""
        labels, num_labels = labels_of(self.train_dataloader), self.model.num_labels
        check_labels(self.train_dataloader, num_labels, None)
        if self.eval_dataloader is not None:
            check_labels(self.eval_dataloader, num_labels, labels)
        self.model.labels = labels

    def _fit(self, num_epochs: int, trackers: list[Tracker]) -> None:
        if THIS_PROCESS.autologs:
            settings = {"num_epochs": num_epochs, **self.model.loss_settings.model_dump()}
            trackers.append(Lasting("mlflow", MlflowTracker(settings)))
        precision = choose_precision("auto", self.device, self.model.causal_lm.config)
        accelerator = make_accelerator(RunConfig(), self.device, precision)
        self.model.to(accelerator.device)
        state = TrainState(
            model=self.model,
            wrapped=accelerator.prepare_model(self.model),
            weights=self.model.loss_settings,
            optimizer=self.optimizer,
            schedule=None,
            accelerator=accelerator,
            settings=TrainingSettings(num_epochs=num_epochs),
        )
        monitor = Monitor(evaluate=self._evaluate) if self.eval_dataloader is not None else None
        fit(state, LoaderUpdates(self.train_dataloader), monitor=monitor, trackers=trackers)

    def _evaluate(self) -> dict[str, float]:
        assert self.eval_dataloader is not None
        return numbers(DHRDEvaluator(self.model, self.device).evaluate(self.eval_dataloader, intervals=False))
