"""Studies whose cells are not run: their answers are made up."""

from __future__ import annotations

from typing import Any

import numpy as np

from dhrd.data.records import LabelSet
from dhrd.experiments.cache import Cache
from dhrd.experiments.cell_result import CellData, CellResult
from dhrd.experiments.cells import Cell
from dhrd.experiments.outcome import Outcome
from dhrd.experiments.plan import Request, final_cells
from dhrd.experiments.report.render import html, markdown
from dhrd.experiments.report.summary import summarize
from dhrd.experiments.study import DHRD, POOLED, Condition, Study
from dhrd.metrics.metrics import compute_metrics
from dhrd.metrics.outcomes import Outcomes

LABELS = LabelSet(("keep", "return", "repair"))
NUM_ROWS = 400
STUDY = Study(
    name="two",
    title="Two conditions",
    question="?",
    arms=(POOLED, DHRD),
    primary=("pooled", "dhrd"),
    conditions=(
        Condition(
            name="few",
            settings={"data.train": "few_{seed}.jsonl", "data.validation": "v.jsonl", "training.num_epochs": 9},
            num_seeds=3,
        ),
        Condition(name="many", settings={"data.train": "many.jsonl"}, arms=("dhrd",)),
    ),
    settings={"training.learning_rate": 1e-3, "model.dropout": 0.0, "loss.class_weights": "balanced"},
)
"""One that is asked for by its conditions."""


def answers(share_right: float, seed: int, prefix: str = "v") -> CellResult:
    """A cell's result in which this share of the rows is right: the first ones, so that better arms are nested."""
    gold = np.random.default_rng(0).integers(3, size=NUM_ROWS)
    wrong = np.arange(NUM_ROWS) >= share_right * NUM_ROWS
    predicted = np.where(wrong, (gold + 1 + seed % 2) % 3, gold)
    p_BC = np.full((NUM_ROWS, 3), 0.1)
    p_BC[np.arange(NUM_ROWS), predicted] = 0.8
    ids = [f"{prefix}{i}" for i in range(NUM_ROWS)]
    predictions = Outcomes.of_probabilities(
        ids=ids, probabilities_BC=p_BC, gold_BC=np.eye(3, dtype=int)[gold], labels=LABELS
    )
    return CellResult(
        metrics=compute_metrics(predictions, intervals=False),
        outcomes=predictions,
        selected_on=False,
        data=CellData(num_train=20, num_with_rationale=15),
        curve=[{"step": 1, "classification_loss": 1.0 + seed, "lm_loss": 2.0}],
        steps=1,
        train_tokens=100,
        seconds={"total": 2.0},
        device="a machine",
        precision="no",
        threads=1,
        versions={"torch": "2.13.0"},
    )


def fill(request: Request, shares: dict[str, list[float]]) -> list[Cell]:
    """Save a cell for each arm and share; the table's cells, finished or not."""
    cells = final_cells(request, Cache("cpu"), {})
    for cell in cells:
        values = shares[cell.arm.name]
        if cell.config.seed < len(values):
            request.store.save(cell, answers(values[cell.config.seed], cell.config.seed))
    return cells


def report_of(request: Request, shares: dict[str, list[float]], **outcome: Any) -> dict[str, Any]:
    """The report's JSON where arms have these shares of the rows right, by seed."""
    cells = fill(request, shares)
    report = summarize(request, Outcome(cells=cells, **outcome), command="dhrd …", created="2026-01-01")
    assert html(report)
    assert markdown(report)
    return report.to_json()
