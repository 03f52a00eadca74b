"""Training one cell: the same calls as `dhrd.run.train.train`, without an artifact."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from dhrd.data.records import EncodedExample
from dhrd.data.rows import Rows
from dhrd.evaluation.live import LiveModel, calibrate_head
from dhrd.experiments.cache import Cache
from dhrd.experiments.cell_result import CurveRow
from dhrd.experiments.cells import Cell
from dhrd.model.adapters import merge_in_place
from dhrd.model.backbone import Backbone
from dhrd.model.dual_head import DualHeadModel
from dhrd.run.train import make_monitor
from dhrd.training.build import Encoded, Parts, build
from dhrd.training.checkpoints import Checkpoints
from dhrd.training.loop import fit
from dhrd.training.position import Position
from dhrd.training.setup import choose_precision, make_accelerator
from dhrd.training.step import LOG_NAMES
from dhrd.training.trackers.tracker import Tracker

if TYPE_CHECKING:
    from accelerate import Accelerator
    from transformers import PreTrainedModel

_MAX_CURVE_POINTS = 200


@dataclass
class Clock:
    """Seconds by what they were spent on."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, what: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[what] = self.seconds.get(what, 0.0) + time.perf_counter() - began


@dataclass
class Curve(Tracker):
    """A tracker that keeps what the report draws."""

    points: list[CurveRow] = field(default_factory=list)
    held_out: list[CurveRow] = field(default_factory=list)
    num_tokens: float = 0.0

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Keep a step's losses, or a held-out metric."""
        if "classification_loss" not in values:
            self.held_out.append({"step": step, **values})
            return
        self.num_tokens += values["num_tokens"]
        kept = ("loss", *(name for name in LOG_NAMES.values() if name in values), "grad_norm", "rationale_share")
        self.points.append({"step": step, **{name: round(values[name], 5) for name in kept}})

    def thinned(self) -> list[CurveRow]:
        """A limited number of points, including the last."""
        every = -(-len(self.points) // _MAX_CURVE_POINTS) or 1
        return self.points[::-1][::every][::-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedCell:
    """A model whose answers can be read, with what it was created from.

    Args:
        cell: The cell that is run.
        rows: Its rows.
        data: Their tokens.
        backbone: The backbone, with the trained weights if it was trained.
        model: The model; None if an untrained backbone is read without a head.
        accelerator: Device and precision.
        curve: The training curve.
        end: Where its training ended.
        temperature: Temperature that the head was divided by.
    """

    cell: Cell
    rows: Rows
    data: Encoded
    backbone: Backbone
    model: DualHeadModel | None
    accelerator: Accelerator
    curve: Curve
    end: Position
    temperature: float | None = None

    @property
    def held_out(self) -> list[EncodedExample]:
        """The rows that the cell is evaluated on."""
        return self.data.validation.examples

    @property
    def causal_lm(self) -> PreTrainedModel:
        """Backbone and reasoning head."""
        return self.model.causal_lm if self.model is not None else self.backbone.model

    @property
    def chose_on_held_out(self) -> bool:
        """Whether an epoch or a temperature was chosen on the rows that the cell is evaluated on."""
        return (self.end.has_chosen or self.temperature is not None) and not self.rows.has_dev


def train_cell(cell: Cell, cache: Cache, clock: Clock) -> TrainedCell:
    """Load what a cell needs, and train it if needed.

    Raises:
        UserError: A row or a setting cannot be used.
        NonFiniteError: Training diverged.
    """
    config = cell.config
    with clock("load"):
        rows = cache.rows(config, cell.fold)
        backbone = cache.backbone(config)
        data = cache.encoded(cell, rows)
        precision = choose_precision(config.training.mixed_precision, cache.device, backbone.model.config)
    model, curve, end, temperature = None, Curve(), Position(), None
    if cell.arm.trained or cell.arm.read == "head":
        with clock("train"):
            parts = build(config, rows, backbone, cache.device, precision=precision, data=data)
            accelerator, model = parts.accelerator, parts.model
            end = _train(cell, parts, curve)
            merge_in_place(model.causal_lm)
        if config.training.calibrate and cell.arm.read == "head":
            with clock("evaluate"):
                live = LiveModel.of(model, accelerator)
                temperature = calibrate_head(live, data.choose.examples, rows.labels)[""]
    else:
        accelerator = make_accelerator(config, cache.device, precision)
        backbone.model.to(accelerator.device)
    return TrainedCell(
        cell=cell,
        rows=rows,
        data=data,
        backbone=backbone,
        model=model,
        accelerator=accelerator,
        curve=curve,
        end=end,
        temperature=temperature,
    )


def _train(cell: Cell, parts: Parts, curve: Curve) -> Position:
    """Returns where it ended."""
    monitor = None
    if parts.rows.has_dev or parts.config.chooses:  # else validation rows are looked at once, at the end
        monitor = make_monitor(parts, LiveModel.of(parts.model, parts.accelerator))
    with tempfile.TemporaryDirectory() if parts.config.chooses else nullcontext() as scratch:
        checkpoints = Checkpoints(Path(scratch), {"cell": cell.key}) if scratch else None
        return fit(parts.state, parts.updates, monitor=monitor, trackers=[curve], checkpoints=checkpoints)
