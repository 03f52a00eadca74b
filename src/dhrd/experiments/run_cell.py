"""Running one cell: train, read the answers, time the classifier. Decoding is timed where it is done."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import torch

from dhrd._device import describe_device
from dhrd._versions import library_versions
from dhrd.benchmark.measure import spread, timed
from dhrd.data.rows import Rows
from dhrd.errors import DataError
from dhrd.evaluation.live import LiveModel
from dhrd.experiments.cache import Cache
from dhrd.experiments.cell_result import Answers, CellData, CellNumbers, CellResult, CellSpeed
from dhrd.experiments.cells import Cell
from dhrd.experiments.decoding import decode_rows
from dhrd.experiments.encoders import run_encoder
from dhrd.experiments.trained_cell import Clock, TrainedCell, train_cell
from dhrd.inference.classifier import Classifier
from dhrd.inference.engine.batching import probabilities
from dhrd.inference.label_scores import score_labels
from dhrd.metrics.metrics import compute_metrics
from dhrd.metrics.outcomes import Outcomes
from dhrd.run.finish import artifact_info
from dhrd.training.setup import make_accelerator

if TYPE_CHECKING:
    from accelerate import Accelerator

_MAX_TIMED_ROWS, _NUM_REPEATS = 512, 3


def run_cell(cell: Cell, cache: Cache) -> CellResult:
    """Run a cell with what this process has loaded.

    Raises:
        UserError: A row or a setting cannot be used.
        NonFiniteError: Training diverged.
        DataError: The rows are no longer those that the cell is named by.
    """
    if cache.rows_hash(cell.config) != cell.rows_hash:
        raise DataError("the rows changed since the study began: run the same command again, for cells of the new ones")
    clock = Clock()
    with clock("total"):
        run = _run_encoder if cell.arm.encoder is not None else _run_backbone
        numbers, accelerator = run(cell, cache, clock)
    return CellResult(
        **dict(numbers),
        seconds={name: round(value, 2) for name, value in clock.seconds.items()},
        device=describe_device(accelerator.device),
        precision=accelerator.mixed_precision,
        threads=torch.get_num_threads(),
        versions=library_versions(),
        created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    )


def _run_backbone(cell: Cell, cache: Cache, clock: Clock) -> tuple[CellNumbers, Accelerator]:
    trained = train_cell(cell, cache, clock)
    with clock("evaluate"):
        answers = _READERS[cell.arm.read](trained)
    speed = answers.speed
    if cell.arm.speed and cell.arm.read == "head":
        with clock("speed"):
            speed = _measure_speed(trained)
    numbers = CellNumbers(
        speed=speed,
        metrics=answers.metrics,
        outcomes=answers.outcomes,
        selected_on=cell.fold is not None or trained.chose_on_held_out,
        data=CellData.of(trained.rows, trained.data.train, trained.data.validation),
        curve=trained.curve.thinned(),
        held_out_curve=trained.curve.held_out,
        steps=trained.end.step,
        temperature=trained.temperature,
        train_tokens=int(trained.curve.num_tokens),
    )
    return numbers, trained.accelerator


def _measure_speed(trained: TrainedCell) -> CellSpeed:
    """The speed of the trained classifier on validation rows, from text to label, after a warm-up."""
    model = trained.model
    assert model is not None
    info = artifact_info(trained.cell.config, trained.rows, trained.data.train, model)
    classifier = Classifier(model.causal_lm.base_model, model.head, trained.backbone.tokenizer, info)
    rows = trained.rows.validation[:_MAX_TIMED_ROWS]
    classifier.predict(rows)
    rates = spread(len(rows) / timed(classifier.predict, rows)[0] for _ in range(_NUM_REPEATS))
    return CellSpeed(
        queries_per_second=rates.median,
        min=rates.min,
        max=rates.max,
        num_queries=len(rows),
        num_repeats=_NUM_REPEATS,
        engine=f"dhrd, {classifier.engine.options.max_tokens_per_pass} tokens a pass",
    )


def _run_encoder(cell: Cell, cache: Cache, clock: Clock) -> tuple[CellNumbers, Accelerator]:
    accelerator = make_accelerator(cell.config, cache.device)
    with clock("load"):
        rows = cache.rows(cell.config, cell.fold)
    return run_encoder(cell, rows, accelerator, clock), accelerator


def _read_head(trained: TrainedCell) -> Answers:
    assert trained.model is not None
    live = LiveModel.of(trained.model, trained.accelerator)
    return _answers(trained.rows, live.predict(trained.held_out, trained.rows.labels))


def _read_label_scores(trained: TrainedCell) -> Answers:
    held_out, labels = trained.held_out, trained.rows.labels
    scores = score_labels(
        trained.causal_lm,
        trained.backbone.tokenizer,
        [example.input_ids for example in held_out],
        labels,
        with_eos=trained.cell.arm.trained,
    )
    p_BC = probabilities(scores, multi_label=False)
    return _answers(trained.rows, Outcomes.of_encoded(held_out, p_BC, labels))


def _answers(rows: Rows, outcomes: Outcomes) -> Answers:
    return Answers(metrics=compute_metrics(outcomes, task=rows.task, intervals=False), outcomes=outcomes)


_READERS = {"head": _read_head, "label_scores": _read_label_scores, "decode": decode_rows}
