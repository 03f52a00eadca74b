"""`evaluate`: an artifact on labelled rows, by the classifier, by its reasoning head, or by both."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from dhrd._progress import track
from dhrd.config import RunConfig
from dhrd.data.records import Example
from dhrd.errors import ConfigError
from dhrd.evaluation.cascade import evaluate_cascade
from dhrd.evaluation.decoded import evaluate_decoded
from dhrd.evaluation.evaluate import Evaluation, WriteRow, evaluate_classifier
from dhrd.inference.cascade import CoT
from dhrd.inference.classifier import Classifier
from dhrd.inference.cot import Reasoner, check_answers
from dhrd.run.rows import each_row_of, held_out_rows, rows_of

Mode = Literal["classifier", "cot", "cascade"]


def evaluate(
    model_dir: str | Path,
    data: Any = None,
    *,
    split: str = "validation",
    config: RunConfig | None = None,
    device: str | None = None,
    limit: int | None = None,
    mode: Mode = "classifier",
    max_new_tokens: int = 500,
    temperature: float = 0.0,
    top_p: float = 1.0,
    batch_size: int = 16,
    threshold: float | None = None,
    target_accuracy: float | None = None,
    target_cost: float | None = None,
    dev_data: Any = None,
    write_row: WriteRow | None = None,
) -> Evaluation:
    """Evaluate an artifact on labelled rows.

    Args:
        model_dir: What `train` wrote.
        data: As `data.train` of a config, or rows; None: the run's own data for the split.
        split: Of `superglue:` and `hub:`; or which of the run's own files.
        config: Column names, the SuperGLUE folder; None: as in training.
        device: "cpu", "cuda", "mps"; None: the best there is.
        limit: Only the first rows; None: of the run's own data as many as it used.
        mode: `classifier`: one forward pass a row. `cot`: the reasoning head writes a rationale and an answer, and the
            answer counts; any artifact can, one without a classifier too. `cascade`: the reasoning head is asked where
            the classifier is unsure.
        max_new_tokens: With `cot` and `cascade`. The paper: 500.
        temperature: With `cot` and `cascade`; 0: greedy. The paper: 0.1.
        top_p: With `cot` and `cascade`. The paper: 0.7.
        batch_size: With `cot` and `cascade`: rows decoded together.
        threshold: With `cascade`: rows whose confidence is under it are asked. Or one of the next two.
        target_accuracy: With `cascade`: the threshold of least cost that reaches it on the rows of the choice.
        target_cost: With `cascade`: the threshold of best accuracy at so many times the classifier's seconds.
        dev_data: With a target: labelled rows for the choice; None: those that training held out.
        write_row: Given each of the evaluation's `rows()`; with `classifier` as soon as it is known, so that any number
            of rows goes by in constant memory but for a few numbers each.

    Raises:
        UserError: The artifact or the rows cannot be used.
    """
    if mode not in ("classifier", "cot", "cascade"):
        raise ConfigError(f"`mode` {mode}: unknown; give classifier, cot or cascade")
    given = {"threshold": threshold, "target_accuracy": target_accuracy, "target_cost": target_cost}
    _check_used(mode, given | {"dev_data": dev_data})
    load = Reasoner.from_pretrained if mode == "cot" else Classifier.from_pretrained
    model = load(model_dir, device=device, dtype=None)  # as saved, so that no figure depends on the machine
    if mode == "classifier" and isinstance(model, Classifier):
        each = each_row_of(model_dir, data, split=split, config=config, limit=limit)
        return evaluate_classifier(model, track(each, "evaluating"), write_row=write_row)
    check_answers(model.info.sequence)
    examples = rows_of(model_dir, data, split=split, config=config, limit=limit)
    cot: dict[str, Any] = {
        "max_new_tokens": max_new_tokens, "temperature": temperature, "top_p": top_p, "batch_size": batch_size
    }  # fmt: skip
    if isinstance(model, Reasoner):
        return _written(evaluate_decoded(model, examples, **cot), write_row)
    choose_on: list[Example] = []
    if threshold is None and (target_accuracy is not None or target_cost is not None):
        own = dev_data is None
        choose_on = held_out_rows(model_dir, config) if own else rows_of(model_dir, dev_data, config=config)
    found = evaluate_cascade(
        model,
        examples,
        cot=CoT(**cot),
        threshold=threshold,
        choose_on=choose_on,
        target_accuracy=target_accuracy,
        target_cost=target_cost,
    )
    return _written(found, write_row)


def _check_used(mode: Mode, given: Mapping[str, Any]) -> None:
    """Refuse what the mode would leave unused, since the figures then are not those that were asked for."""
    if odd := [name for name, value in given.items() if value is not None and mode != "cascade"]:
        raise ConfigError(
            f"{', '.join(odd)}: of `mode=cascade`, and the mode is {mode}; leave it out, or give that mode"
        )
    if given["threshold"] is not None and given["dev_data"] is not None:
        raise ConfigError("dev_data: rows to choose a threshold on, which threshold gives; leave one of them out")


def _written(evaluation: Evaluation, write_row: WriteRow | None) -> Evaluation:
    if write_row is not None:
        for row in evaluation.rows():
            write_row(row)
    return evaluation
