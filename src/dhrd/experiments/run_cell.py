"""Running one cell: train, read the answers, measure. The same calls as `dhrd.run.train`, without an artifact."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from dhrd.data.batches import fingerprint
from dhrd.data.records import EncodedExample
from dhrd.data.rows import Rows, multi_hot
from dhrd.data.sequence import EncodedData
from dhrd.evaluation.calibration import calibrate_head
from dhrd.evaluation.evaluate import predict_model
from dhrd.evaluation.metrics import Predictions, compute_metrics
from dhrd.evaluation.outcomes import Outcomes
from dhrd.experiments.cache import Cache
from dhrd.experiments.cells import Cell
from dhrd.experiments.decoding import decode_rows
from dhrd.experiments.encoders import run_encoder
from dhrd.experiments.speed import measure
from dhrd.inference.batching import probabilities
from dhrd.inference.label_scores import score_labels
from dhrd.model.adapters import merge_in_place
from dhrd.model.artifact import library_versions
from dhrd.model.backbone import Backbone
from dhrd.model.device import describe_device
from dhrd.model.dual_head import DualHeadReasoningModel
from dhrd.run import make_evaluate_fn, make_watch
from dhrd.training.assemble import build_model, plan_updates, seed_dropout
from dhrd.training.loop import fit
from dhrd.training.setup import choose_precision, make_accelerator, make_stepper
from dhrd.training.state import Checkpoints
from dhrd.training.step import LOG_NAMES

if TYPE_CHECKING:
    from accelerate import Accelerator

_MAX_CURVE_POINTS = 200


@dataclass
class _Clock:
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
class _Curve:
    """A sink that keeps what the report draws."""

    points: list[dict[str, float]] = field(default_factory=list)
    held_out: list[dict[str, float]] = field(default_factory=list)
    num_tokens: float = 0.0

    def log(self, values: Mapping[str, float], step: int) -> None:
        if "classification_loss" not in values:
            self.held_out.append({"step": step, **values})
            return
        self.num_tokens += values["num_tokens"]
        kept = ("loss", *(name for name in LOG_NAMES.values() if name in values), "grad_norm", "rationale_share")
        self.points.append({"step": step, **{name: round(values[name], 5) for name in kept}})

    def state(self) -> dict[str, str]:
        return {}

    def finish(self, artifact: Path | None) -> None:
        pass

    def abort(self, status: str) -> None:
        pass

    def thinned(self) -> list[dict[str, float]]:
        """At most so many points, the last among them."""
        every = -(-len(self.points) // _MAX_CURVE_POINTS) or 1
        return self.points[::-1][::every][::-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A model whose answers can be read."""

    cell: Cell
    rows: Rows
    data: Mapping[str, EncodedData]
    backbone: Backbone
    model: DualHeadReasoningModel | None  # None where an untrained backbone is read without a head
    accelerator: Accelerator
    steps: int = 0
    temperature: float | None = None  # that the head was divided by

    @property
    def held_out(self) -> list[EncodedExample]:
        """The rows that the cell is evaluated on."""
        return self.data["validation"].examples

    @property
    def causal_lm(self) -> Any:
        """Backbone and reasoning head."""
        return self.model.causal_lm if self.model is not None else self.backbone.model


def run_cell(cell: Cell, cache: Cache) -> dict[str, Any]:
    """Run a cell.

    Args:
        cell: What to run.
        cache: What this process has loaded.

    Returns:
        Metrics, outcomes row by row, curve, seconds, speed, and what it was run on: the cell's file.

    Raises:
        UserError: A row or a setting cannot be used.
        NonFiniteError: Training diverged.
    """
    clock = _Clock()
    with clock("total"):
        run = _perform_encoder if cell.arm.encoder is not None else _perform_backbone
        found, accelerator = run(cell, cache, clock)
    return {
        "speed": None,
        **found,
        "seconds": {name: round(value, 2) for name, value in clock.seconds.items()},
        "device": describe_device(accelerator.device),
        "precision": accelerator.mixed_precision,
        "threads": torch.get_num_threads(),
        "versions": library_versions(),
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _perform_backbone(cell: Cell, cache: Cache, clock: _Clock) -> tuple[dict[str, Any], Accelerator]:
    curve = _Curve()
    ready = _prepare(cell, cache, clock, curve)
    with clock("evaluate"):
        found = _READERS[cell.arm.read](ready)
    if cell.arm.speed and cell.arm.read == "head":
        with clock("speed"):
            found["speed"] = measure(ready)
    found |= {
        "selected_on": cell.fold is not None or _chose_on_validation(ready),
        "data": _describe_data(ready.rows, ready.data),
        "curve": curve.thinned(),
        "held_out_curve": curve.held_out,
        "steps": ready.steps,
        "temperature": ready.temperature,
        "train_tokens": int(curve.num_tokens),
    }
    return found, ready.accelerator


def _perform_encoder(cell: Cell, cache: Cache, clock: _Clock) -> tuple[dict[str, Any], Accelerator]:
    accelerator = make_accelerator(cell.config, cache.device)
    with clock("load"):
        rows = cache.rows(cell.config, cell.fold)
    run = run_encoder(cell, rows, accelerator, clock)
    found = _of_predictions(rows, run.predictions) | {
        "selected_on": cell.fold is not None,
        "data": _describe_data(rows, run.data),
        "curve": [],
        "held_out_curve": [],
        "steps": run.steps,
        "temperature": None,
        "train_tokens": run.train_tokens,
    }
    return found, accelerator


def _prepare(cell: Cell, cache: Cache, clock: _Clock, curve: _Curve) -> Ready:
    config = cell.config
    with clock("load"):
        rows = cache.rows(config, cell.fold)
        backbone = cache.backbone(config)
        data = cache.encoded(cell, rows)
        precision = choose_precision(config.training.mixed_precision, cache.device, backbone.model.config)
        accelerator = make_accelerator(config, cache.device, precision)
    if not cell.arm.trained and cell.arm.read != "head":
        backbone.model.to(accelerator.device)
        return Ready(cell=cell, rows=rows, data=data, backbone=backbone, model=None, accelerator=accelerator)
    with clock("train"):
        model, steps = _train(cell, rows, data, backbone, accelerator, curve)
        merge_in_place(model.causal_lm)
    temperature = None
    if config.training.calibrate and cell.arm.read == "head":
        with clock("evaluate"):
            temperature = calibrate_head(model, data["choose"].examples, multi_label=rows.labels.multi_label)
    return Ready(
        cell=cell,
        rows=rows,
        data=data,
        backbone=backbone,
        model=model,
        accelerator=accelerator,
        steps=steps,
        temperature=temperature,
    )


def _train(
    cell: Cell,
    rows: Rows,
    data: Mapping[str, EncodedData],
    backbone: Backbone,
    accelerator: Accelerator,
    curve: _Curve,
) -> tuple[DualHeadReasoningModel, int]:
    config = cell.config
    model = build_model(config, rows, backbone)
    updates = plan_updates(config, rows, data, model, accelerator)
    stepper = make_stepper(model, config, accelerator, updates.updates_per_epoch * config.training.num_epochs)
    seed_dropout(config, accelerator)
    watch = make_watch(config, rows)
    separate = rows.choose is not rows.validation  # validation rows are looked at once, at the end
    with tempfile.TemporaryDirectory() if watch else nullcontext() as scratch:
        end = fit(
            stepper,
            model,
            updates,
            config.training,
            evaluate_fn=make_evaluate_fn(rows, data, config, accelerator) if separate or watch else None,
            watch=watch,
            sinks=[curve],
            checkpoints=Checkpoints(Path(scratch), {"cell": cell.key}) if scratch else None,
        )
    return model, end.step


def _chose_on_validation(ready: Ready) -> bool:
    training = ready.cell.config.training
    chose = training.selection == "best" or training.patience is not None or ready.temperature is not None
    return chose and not ready.cell.config.data.dev_share


def _describe_data(rows: Rows, data: Mapping[str, EncodedData]) -> dict[str, Any]:
    train, held_out = data["train"], data["validation"]
    return {
        "num_train": len(train),
        "num_with_rationale": sum(bool(example.rationale) for example in rows.train),
        "num_validation": len(held_out),
        "num_inputs_cut": train.num_inputs_cut + held_out.num_inputs_cut,
        "num_rationales_cut": train.num_rationales_cut,
        "train_tokens_hash": fingerprint(train.examples),
        "validation_tokens_hash": fingerprint(held_out.examples),
    }


def _read_head(ready: Ready) -> dict[str, Any]:
    assert ready.model is not None
    return _of_predictions(ready.rows, predict_model(ready.model, ready.held_out, ready.rows.labels))


def _read_label_scores(ready: Ready) -> dict[str, Any]:
    scores = score_labels(
        ready.causal_lm,
        ready.backbone.tokenizer,
        [example.input_ids for example in ready.held_out],
        ready.rows.labels,
        with_eos=ready.cell.arm.trained,
    )
    labels = ready.rows.labels
    return _of_predictions(
        ready.rows,
        Predictions(
            ids=[example.id for example in ready.held_out],
            probabilities_BC=probabilities(scores, multi_label=False),
            gold_BC=multi_hot([example.label for example in ready.held_out], len(labels)),
            labels=labels,
        ),
    )


def _of_predictions(rows: Rows, predictions: Predictions) -> dict[str, Any]:
    return {
        "metrics": compute_metrics(predictions, task=rows.task, intervals=False),
        "outcomes": Outcomes.of(predictions).to_json(),
    }


_READERS = {"head": _read_head, "label_scores": _read_label_scores, "decode": decode_rows}
