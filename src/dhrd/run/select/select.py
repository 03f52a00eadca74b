"""`select`: choose the rows of a pool that are most worth a label or a rationale.

the pool → without known rows → the classifier's prediction for each row → a tenth at random, the rest by a strategy
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dhrd._files import writing
from dhrd.artifact.info import read_info
from dhrd.config import RunConfig
from dhrd.data.digest import digest_of
from dhrd.data.label_space import of_task, one_task
from dhrd.data.labels import LabelSlice
from dhrd.data.rationales import join_rationales
from dhrd.data.records import Example
from dhrd.data.rows import encode_labels, label_set, load_rows
from dhrd.data.sources import named_rows, open_source
from dhrd.errors import ConfigError, DataError
from dhrd.evaluation.folds import fold_directory, for_folds, out_of_fold
from dhrd.inference.classifier import Classifier
from dhrd.inference.embedding import embed
from dhrd.run.rows import rows_of, settings_of, with_own_ids
from dhrd.run.select.pool import Pool, open_pool
from dhrd.run.select.strategies import RANDOM, STRATEGIES, Choose, ScoredPool, SelectionQuery, draw_rows
from dhrd.run.trained import refuse_rows_of_backbone, refuse_trained_rows

logger = logging.getLogger("dhrd")

_FOR_RATIONALES = (RANDOM, "margin")
_OWN_COLUMNS = ("selected_by", "score", "inclusion_probability")


@dataclass(frozen=True, slots=True)
class SelectedRow:
    """A selected row.

    Args:
        example: The row.
        by: The strategy that chose it; `random`: it was drawn.
        score: How unsure the classifier is: for a label 1 − the margin of its two likeliest labels, for a rationale
            1 − the probability of the row's label; None: no classifier read it.
        inclusion_probability: Of a row that was drawn, with which any row of the pool was; None: it was chosen.
    """

    example: Example
    by: str
    score: float | None
    inclusion_probability: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The selected rows, in an order such that any prefix is a valid selection too.

    Args:
        rows: The selected rows.
        pool: The pool they were selected from.
    """

    rows: list[SelectedRow]
    pool: Pool


def select_for_labels(
    model_dir: str | Path, data: Any, query: SelectionQuery, *, config: RunConfig | None = None, **options: Any
) -> Selection:
    """Select the rows to label next.

    Args:

        query: How many rows to select, and how.
        config: Settings with column names; None: those of the training run.
        **options: See `predict`.

    Raises:
        ConfigError: The task does not exist, or there are several and none is named.
        DataError: The pool has too few rows, or one cannot be used.
        UserError: The artifact cannot be used.
    """
    examples, pool, task = _opened(model_dir, data, query, config, labels_required=False)
    classifier = Classifier.from_pretrained(model_dir, **options)
    probabilities_NC, pooled_ND = embed(classifier, [examples[row] for row in pool.rows])
    scored = ScoredPool(probabilities_NC[:, task.columns], pooled_ND, task.labels.multi_label)

    def choose(rows: np.ndarray, count: int, draws: np.random.RandomState) -> np.ndarray:
        return STRATEGIES[query.strategy](scored[rows], count, draws)

    return _selected(examples, pool, scored.unsure_N, query, choose)


def select_for_rationales(
    model_dir: str | Path, data: Any, query: SelectionQuery, *, config: RunConfig | None = None, **options: Any
) -> Selection:
    """Select labelled rows, which the artifact was not trained on, that should get a rationale next.

    Rows whose label is least probable to it come first: those it gets wrong, then those it is unsure of.

    Args:
        model_dir: An artifact trained on other rows.
        data: Labelled rows, or a source as for `data.train`; rows with a rationale are not selected.
        query: How many rows to select, and how.
        config: Settings with column names; None: those of the training run.
        **options: See `predict`.

    Raises:
        ConfigError: The strategy is for labels only, the task does not exist, or there are several and none is named.
        DataError: Most rows were trained on, a row cannot be used, or the pool is too small.
        UserError: The artifact cannot be used.
    """
    _check_for_rationales(query)
    examples, pool, task = _opened(model_dir, data, query, config, labels_required=True)
    chosen_from = [examples[row] for row in pool.rows]
    refuse_trained_rows(
        model_dir,
        [digest_of(example) for example in chosen_from],
        instead="give `folds` instead of `model`, so that each row is scored by a model that did not see it",
    )
    classifier = Classifier.from_pretrained(model_dir, **options)
    return _by_doubt(examples, pool, _doubt(classifier.predict_proba(chosen_from), chosen_from, task), query)


def select_out_of_fold(
    config: RunConfig, query: SelectionQuery, *, num_folds: int = 5, kept: Path | None = None, device: str | None = None
) -> Selection:
    """Select training rows that should get a rationale next, each scored by a classifier that did not see it.

    Args:
        config: Settings as for training; the classifier learns from labels only, and validation, `data.dev_share` and
            the selection of weights are ignored.
        query: How many rows to select, and how.
        num_folds: Number of cross-validation folds; the classifier is trained once per fold.
        kept: Directory for finished folds, so that the same call can resume after a kill; None: keep nothing.
        device: "cpu", "cuda" or "mps"; None: the best available.

    Raises:
        ConfigError: See `select_for_rationales`.
        DataError: Too few rows lack a rationale, a row cannot be used, or a fold would be empty.
        UserError: A setting or the backbone cannot be used.
    """
    _check_for_rationales(query)
    config = _without_rationales(for_folds(config))
    rows = load_rows(config)
    refuse_rows_of_backbone(config, rows.train)
    task = one_task(rows.labels, query.task)
    pool = open_pool(rows.train, query.exclude, rows.template, config.data)
    pool = pool.only(not example.rationale and _is_labelled(example, task) for example in rows.train)
    _check_pool(pool, rows.train, query)
    with fold_directory(kept) as folds:
        probabilities_NC = out_of_fold(config, rows, num_folds=num_folds, kept=folds, device=device)
    wrong_N = _doubt(probabilities_NC[pool.rows], [rows.train[row] for row in pool.rows], task)
    return _by_doubt(rows.train, pool, wrong_N, query)


def select_at_random(config: RunConfig, query: SelectionQuery, *, for_rationales: bool = False) -> Selection:
    """Draw rows to get a label or a rationale next; no model reads them.

    Args:
        config: `data.train` is the pool.
        query: How many.
        for_rationales: Of rows that have a label and no rationale alone.

    Raises:
        ConfigError: There are several tasks, and none of them is named, for rationales.
        DataError: The pool has too few rows, or one cannot be used.
    """
    opened = open_source(named_rows(config.data), config.data, tasks=config.tasks)
    source = replace(opened, reads_rationales=False, weighs=False)
    examples = list(with_own_ids(source.load(labels_required=for_rationales), source.name))
    pool = open_pool(examples, query.exclude, source.template, config.data)
    if for_rationales:
        task = one_task(label_set(config, source, examples), query.task)
        pool = _without_rationale(pool, _joined(examples, config), task, config)
    _check_pool(pool, examples, query)
    return _selected(examples, pool, None, query, None)


def write_selected(selection: Selection, path: Path) -> None:
    """Write the rows as JSON lines, with their own columns, ready to be labelled or given rationales.

    Raises:
        SaveError: They could not be written.
    """
    with writing(path) as file:
        for row in selection.rows:
            score = None if row.score is None else round(row.score, 6)
            own = (row.by, score, row.inclusion_probability)
            record = {"id": row.example.id, **row.example.fields, **dict(zip(_OWN_COLUMNS, own, strict=True))}
            file.row(record)


def _opened(
    model_dir: str | Path, data: Any, query: SelectionQuery, config: RunConfig | None, *, labels_required: bool
) -> tuple[list[Example], Pool, LabelSlice]:
    """The rows for an artifact, the pool of candidates, and the task to select for."""
    config = config or settings_of(model_dir)
    info = read_info(model_dir)
    task = one_task(info.labels, query.task)
    examples = rows_of(model_dir, data, split="train", config=config, labels_required=labels_required)
    pool = open_pool(examples, query.exclude, info.input_template, config.data)
    if labels_required:
        is_runs_own = config.data.rationales == settings_of(model_dir).data.rationales
        pool = _without_rationale(pool, _joined(examples, config, may_be_of_others=is_runs_own), task, config)
    _check_pool(pool, examples, query)
    return examples, pool, task


def _without_rationale(pool: Pool, examples: Sequence[Example], task: LabelSlice, config: RunConfig) -> Pool:
    column = config.data.columns.get("rationale", "rationale")
    return pool.only(
        not example.rationale and not example.fields.get(column) and _is_labelled(example, task) for example in examples
    )


def _joined(examples: Sequence[Example], config: RunConfig, *, may_be_of_others: bool = False) -> Sequence[Example]:
    """The rows with the rationales of `data.rationales`, which of a run's own are those of its training rows."""
    if config.data.rationales is None:
        return examples
    try:
        return join_rationales(
            examples,
            config.data.rationales,
            config.tasks or (),
            columns=config.data.columns,
            delimiter=config.data.csv_delimiter,
        )
    except DataError as error:
        if not may_be_of_others:
            raise
        logger.warning("the rationales that the model was trained with are not looked at: %s", error)
        return examples


def _is_labelled(example: Example, task: LabelSlice) -> bool:
    return example.label is not None and task.is_in(example.label)


def _check_pool(pool: Pool, examples: Sequence[Example], query: SelectionQuery) -> None:
    if query.num_rows > len(pool.rows):
        raise DataError(
            f"`num_rows={query.num_rows}`: only {len(pool.rows)} of the pool's {len(examples)} rows can be selected: "
            "not known, not repeated and, for rationales, with a label and without a rationale; give a smaller number"
        )
    for row in pool.rows:
        if taken := [name for name in _OWN_COLUMNS if name in examples[row].fields]:
            raise DataError(f"{examples[row].where}: has a column {taken[0]}, which a selection writes; rename it")


def _check_for_rationales(query: SelectionQuery) -> None:
    if query.strategy not in _FOR_RATIONALES:
        raise ConfigError(
            f"`strategy={query.strategy}`: chooses rows for labels; for rationales give {' or '.join(_FOR_RATIONALES)}"
        )


def _without_rationales(config: RunConfig) -> RunConfig:
    """The same settings, learning from labels only; rows keep the rationales that they have, to be known by them."""
    off = {f"{name}_weight": 0.0 for name in config.loss.rationale_losses}
    data = config.data.model_copy(update={"rationale_share": 1.0})
    return config.model_copy(update={"loss": config.loss.model_copy(update=off), "data": data})


def _doubt(probabilities_NC: np.ndarray, examples: Sequence[Example], task: LabelSlice) -> np.ndarray:
    """1 − the probability of each row's label of a task, (N,); for several labels, that of the least probable one."""
    probabilities_NC = probabilities_NC[:, task.columns]
    gold_NC = encode_labels(of_task(examples, task.name, task.columns), task.labels).astype(bool)
    if task.labels.multi_label:
        return 1 - np.where(gold_NC, probabilities_NC, 1 - probabilities_NC).min(axis=1)
    return 1 - probabilities_NC[gold_NC]


def _by_doubt(examples: Sequence[Example], pool: Pool, doubt_N: np.ndarray, query: SelectionQuery) -> Selection:
    def choose(rows: np.ndarray, count: int, draws: np.random.RandomState) -> np.ndarray:
        return np.argsort(-doubt_N[rows], kind="stable")[:count]

    return _selected(examples, pool, doubt_N, query, choose)


def _selected(
    examples: Sequence[Example], pool: Pool, score_N: np.ndarray | None, query: SelectionQuery, choose: Choose | None
) -> Selection:
    drawn = draw_rows(len(pool.rows), query.num_rows, None if query.strategy == RANDOM else choose, seed=query.seed)
    rows = [
        SelectedRow(
            example=examples[pool.rows[row]],
            by=RANDOM if is_random else query.strategy,
            score=None if score_N is None else float(score_N[row]),
            inclusion_probability=drawn.inclusion_probability if is_random else None,
        )
        for row, is_random in zip(drawn.rows, drawn.is_random, strict=True)
    ]
    return Selection(rows=rows, pool=pool)
