"""The DHRD documents' trainer: a thin layer over `fit`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch.utils.data import DataLoader

from dhrd.compat.evaluator import DHRDEvaluator
from dhrd.compat.loader import check_labels, check_losses, label_mass_of, labels_of
from dhrd.config import RunConfig, TrainingSettings
from dhrd.data.records import Batch, LabelSet
from dhrd.errors import ConfigError, DataError
from dhrd.label_loss import LabelLoss, label_losses
from dhrd.metrics.metrics import numbers
from dhrd.model.dual_head import DualHeadModel
from dhrd.training.loop import Monitor, fit
from dhrd.training.setup import choose_precision, make_accelerator
from dhrd.training.step import TrainState
from dhrd.training.trackers.mlflow import THIS_PROCESS, MlflowTracker
from dhrd.training.trackers.opened import told_the_end
from dhrd.training.trackers.tracker import Lasting, Tracker


class LoaderUpdates:
    """Presents a DataLoader as updates of one batch each."""

    def __init__(self, loader: DataLoader[Any]) -> None:
        self._loader = loader

    @property
    def updates_per_epoch(self) -> int:
        """Batches in one pass over the loader."""
        return len(self._loader)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[list[Batch]]:
        """Yield one batch per update, from the `start`-th on."""
        for index, batch in enumerate(self._loader):
            if index >= start:
                yield [batch]


class _History(Tracker):
    """Keeps all logged values."""

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []

    def log(self, values: Mapping[str, float], step: int) -> None:
        self.rows.append({"step": step, **values})


class DHRDTrainer:
    """Trains a model on a DataLoader.

    For checkpoints, resuming, several processes and an artifact, use `dhrd.train` instead.

    Args:
        model: The model.
        train_dataloader: Batches, for example from `load_json_dataset(…)`.
        eval_dataloader: Evaluated after each epoch; None: no evaluation.
        optimizer: The optimizer; None: AdamW at 5e-5 with weight decay 0.01.
        device: The device to train on.
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
        """Train, and return all logged rows: the losses of each update and the metrics after each epoch.

        Raises:
            DataError: The loaders have other label sets, or another number of labels than the model; or the training
                rows were not encoded for the model's losses.
            ConfigError: `loss.class_weights` names other labels than the rows have, or the loader knows no names.
            NonFiniteError: A loss or gradient is not finite.
        """
        self._check_rows()
        history = _History()
        trackers: list[Tracker] = [history]
        with told_the_end(trackers, None):
            self._fit(num_epochs, trackers)
        return history.rows

    def _check_rows(self) -> None:
        """Both loaders before anything is trained, and what the model is of from now on."""
        labels, num_labels = labels_of(self.train_dataloader), self.model.num_labels
        check_labels(self.train_dataloader, num_labels, None)
        if self.eval_dataloader is not None:
            check_labels(self.eval_dataloader, num_labels, labels)
        check_losses(self.train_dataloader, self.model.loss_settings)
        self._set_label_loss(labels)
        self.model.labels = labels

    def _set_label_loss(self, labels: LabelSet | None) -> None:
        """The label loss of these rows; one that the model was given stays, and must be of such rows."""
        model, loss = self.model, self.model.loss_settings
        if model.is_label_loss_given:
            if labels is not None and model.num_tasks == 1:
                _check_kind(model.terms["classification"].label_loss, labels)
        elif labels is not None:
            mass_C = partial(label_mass_of, self.train_dataloader, len(labels))
            model.set_label_losses(label_losses(loss, labels, mass_C))
        elif loss.class_weights is not None:
            raise ConfigError(
                "loss.class_weights: the training loader's data set has no label names; read it with "
                "load_json_dataset, or give the model a label_loss with class_weight_C"
            )

    def _fit(self, num_epochs: int, trackers: list[Tracker]) -> None:
        if THIS_PROCESS.autologs:
            settings = {"num_epochs": num_epochs, **self.model.loss_settings.model_dump()}
            trackers.append(Lasting("mlflow", MlflowTracker(settings)))
        precision = choose_precision("auto", self.device, self.model.causal_lm.config)
        accelerator = make_accelerator(RunConfig(), self.device, precision)
        self.model.to(accelerator.device)
        updates = LoaderUpdates(self.train_dataloader)
        state = TrainState(
            model=self.model,
            wrapped=accelerator.prepare_model(self.model),
            weights=self.model.loss_settings,
            optimizer=self.optimizer,
            schedule=None,
            accelerator=accelerator,
            settings=TrainingSettings(num_epochs=num_epochs),
            num_updates=updates.updates_per_epoch * num_epochs,
        )
        monitor = Monitor(evaluate=self._evaluate) if self.eval_dataloader is not None else None
        fit(state, updates, monitor=monitor, trackers=trackers)

    def _evaluate(self) -> dict[str, float]:
        assert self.eval_dataloader is not None
        return numbers(DHRDEvaluator(self.model, self.device).evaluate(self.eval_dataloader, intervals=False))


def _check_kind(label_loss: LabelLoss, labels: LabelSet) -> None:
    if label_loss.multi_label != labels.multi_label:
        rows = "may have several labels" if labels.multi_label else "have one label"
        raise DataError(
            f"the rows {rows} each, but the model's label_loss has multi_label={label_loss.multi_label}; make the "
            "model without label_loss, or with the other"
        )
