"""`evaluate`: evaluate an artifact on labelled rows, by its classifier, its reasoning head, or both."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack

from dhrd._progress import track
from dhrd.config import RunConfig
from dhrd.data.digest import digest_of
from dhrd.data.label_space import check_one_task
from dhrd.errors import ConfigError
from dhrd.evaluation.cascade import Choice, evaluate_cascade
from dhrd.evaluation.decoded import evaluate_decoded
from dhrd.evaluation.evaluate import Evaluation, WriteRow, evaluate_classifier
from dhrd.inference.classifier import Classifier
from dhrd.inference.cot import Reasoner
from dhrd.inference.decoding import Decoding
from dhrd.run.chosen import ChosenRows
from dhrd.run.copies import telling_copies
from dhrd.run.rows import each_row_of, rows_of
from dhrd.run.trained import held_out_rows, refuse_trained_rows, telling_trained

Mode = Literal["classifier", "cot", "cascade"]
_DECODING = frozenset(field.name for field in fields(Decoding))
_OF_THRESHOLD = frozenset({"threshold", "target_accuracy", "target_cost"})


class EvaluateOptions(TypedDict, total=False):
    """Options of `evaluate` that apply to some modes only."""

    max_new_tokens: int
    temperature: float
    top_p: float
    batch_size: int
    threshold: float | None
    target_accuracy: float | None
    target_cost: float | None
    dev_data: Any


def evaluate(
    model_dir: str | Path,
    data: Any = None,
    *,
    split: str = "validation",
    config: RunConfig | None = None,
    device: str | None = None,
    limit: int | None = None,
    mode: Mode = "classifier",
    write_row: WriteRow | None = None,
    **options: Unpack[EvaluateOptions],
) -> Evaluation:
    """Evaluate an artifact on labelled rows.

    Args:
        model_dir: An artifact, written by `train`.
        data: Rows, or a source as for `data.train`; None: the run's own data for the split.
        split: The split of `superglue:` and `hub:` data, or of the run's own data.
        config: Settings with column names and the SuperGLUE folder; None: those of the training run.
        device: "cpu", "cuda" or "mps"; None: the best available.
        limit: Use only the first N rows; None: all, or as many of the run's own data as the run used.
        mode: `classifier`: one forward pass per row. `cot`: the reasoning head writes a rationale and an answer, and
            the answer is scored; this works for any artifact, also without a classifier. `cascade`: the reasoning head
            answers where the classifier is unsure.
        write_row: Called with each of the evaluation's `rows()`; in mode `classifier` as soon as a row is done, so that
            memory stays constant but for a few numbers per row.
        **options: For `cot` and `cascade`, the decoding options `max_new_tokens`, `temperature`, `top_p` and
            `batch_size` (see `Decoding`). For `cascade`, one of `threshold` (the reasoning head answers rows with a
            lower confidence), `target_accuracy` (choose the cheapest threshold that reaches it) and `target_cost`
            (choose the most accurate threshold within this multiple of the classifier's time). With a target also
            `dev_data`, labelled rows to choose the threshold on; default: those held out in training.

    Raises:
        UserError: The artifact or the rows cannot be used.
    """
    given = _check_used(mode, options)
    where: dict[str, Any] = {"split": split, "config": config, "limit": limit}
    load = Reasoner.from_pretrained if mode == "cot" else Classifier.from_pretrained
    model = load(
        model_dir, device=device, dtype=None
    )  # in the saved data type, so that results do not depend on the machine
    if mode != "classifier":
        check_one_task(model.info.labels, "an answer of the reasoning head")
    each = each_row_of(model_dir, data, **where)
    if data is not None:  # training has compared its own rows
        each = telling_trained(model_dir, each)
    chosen = ChosenRows.of(model_dir)
    each = telling_copies(chosen.counted(each))
    if mode == "classifier" and isinstance(model, Classifier):
        evaluation = evaluate_classifier(model, track(each, "evaluating"), write_row=write_row)
        chosen.mark(evaluation.metrics)
        return evaluation
    examples = list(each)
    decoding = Decoding(**{name: value for name, value in given.items() if name in _DECODING})
    if isinstance(model, Reasoner):
        evaluation = evaluate_decoded(model, examples, decoding)
    else:
        evaluation = evaluate_cascade(model, examples, decoding, _choice(model_dir, config, given))
    chosen.mark(evaluation.metrics, asks_decision=mode == "cascade" and not _OF_THRESHOLD & given.keys())
    if write_row is not None:
        for row in evaluation.rows():
            write_row(row)
    return evaluation


def _check_used(mode: Mode, options: EvaluateOptions) -> dict[str, Any]:
    """Reject options that the mode would ignore, and return the rest."""
    if mode not in ("classifier", "cot", "cascade"):
        raise ConfigError(f"`mode` {mode}: unknown; give classifier, cot or cascade")
    if unknown := set(options) - set(EvaluateOptions.__annotations__):
        raise TypeError(f"evaluate() got an unexpected keyword argument {min(unknown)!r}")
    given = {name: value for name, value in options.items() if value is not None or name in _DECODING}
    of_cascade = ", ".join(f"`{name}`" for name in given if name not in _DECODING)
    if of_cascade and mode != "cascade":
        raise ConfigError(f"{of_cascade} needs `mode=cascade`, got {mode}; leave it out or change the mode")
    if "threshold" in given and "dev_data" in given:
        raise ConfigError("`dev_data` is for choosing a threshold, but `threshold` is given; leave one of them out")
    return given


def _choice(model_dir: str | Path, config: RunConfig | None, given: dict[str, Any]) -> Choice:
    """The given threshold, or the target and the rows to choose one on."""
    asked: dict[str, Any] = {name: given.get(name) for name in _OF_THRESHOLD}
    if asked["threshold"] is not None or not any(value is not None for value in asked.values()):
        return Choice(**asked)
    own = "dev_data" not in given
    choose_on = held_out_rows(model_dir, config) if own else rows_of(model_dir, given["dev_data"], config=config)
    refuse_trained_rows(model_dir, [*map(digest_of, choose_on)], held_out=own, instead="give others as `dev_data`")
    return Choice(**asked, choose_on=choose_on)
