"""`evaluate`: an artifact on labelled rows, by the classifier, by its reasoning head, or by both."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack

from dhrd._progress import track
from dhrd.config import RunConfig
from dhrd.data.label_space import check_one_task
from dhrd.errors import ConfigError
from dhrd.evaluation.cascade import Choice, evaluate_cascade
from dhrd.evaluation.decoded import evaluate_decoded
from dhrd.evaluation.evaluate import Evaluation, WriteRow, evaluate_classifier
from dhrd.inference.classifier import Classifier
from dhrd.inference.cot import Reasoner
from dhrd.inference.decoding import Decoding
from dhrd.run.rows import each_row_of, held_out_rows, rows_of, tell_trained_file

Mode = Literal["classifier", "cot", "cascade"]
_DECODING = frozenset(field.name for field in fields(Decoding))


class EvaluateOptions(TypedDict, total=False):
    """What `evaluate` takes for some modes only."""

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
        model_dir: What `train` wrote.
        data: As `data.train` of a config, or rows; None: the run's own data for the split.
        split: Of `superglue:` and `hub:`; or which of the run's own files.
        config: Column names, the SuperGLUE folder; None: as in training.
        device: "cpu", "cuda", "mps"; None: the best there is.
        limit: Only the first rows; None: of the run's own data as many as it used.
        mode: `classifier`: one forward pass a row. `cot`: the reasoning head writes a rationale and an answer, and the
            answer counts; any artifact can, one without a classifier too. `cascade`: the reasoning head is asked where
            the classifier is unsure.
        write_row: Given each of the evaluation's `rows()`; with `classifier` as soon as it is known, so that any number
            of rows goes by in constant memory but for a few numbers each.
        **options: With `cot` and `cascade` how the reasoning head answers, see `Decoding`: `max_new_tokens`,
            `temperature`, `top_p`, `batch_size`. With `cascade` one of `threshold` (rows whose confidence is under it
            are asked), `target_accuracy` (the threshold of least cost that reaches it on the rows of the choice) and
            `target_cost` (the threshold of best accuracy at so many times the classifier's seconds); with a target
            `dev_data`, labelled rows for the choice: by default those that training held out.

    Raises:
        UserError: The artifact or the rows cannot be used.
    """
    given = _check_used(mode, options)
    tell_trained_file(model_dir, data)
    where: dict[str, Any] = {"split": split, "config": config, "limit": limit}
    load = Reasoner.from_pretrained if mode == "cot" else Classifier.from_pretrained
    model = load(model_dir, device=device, dtype=None)  # as saved, so that no figure depends on the machine
    if mode == "classifier" and isinstance(model, Classifier):
        each = each_row_of(model_dir, data, **where)
        return evaluate_classifier(model, track(each, "evaluating"), write_row=write_row)
    check_one_task(model.info.labels, "an answer of the reasoning head")
    examples = rows_of(model_dir, data, **where)
    decoding = Decoding(**{name: value for name, value in given.items() if name in _DECODING})
    if isinstance(model, Reasoner):
        evaluation = evaluate_decoded(model, examples, decoding)
    else:
        evaluation = evaluate_cascade(model, examples, decoding, _choice(model_dir, config, given))
    if write_row is not None:
        for row in evaluation.rows():
            write_row(row)
    return evaluation


def _check_used(mode: Mode, options: EvaluateOptions) -> dict[str, Any]:
    """Refuse what the mode would leave unused, since the figures then are not those that were asked for."""
    if mode not in ("classifier", "cot", "cascade"):
        raise ConfigError(f"`mode` {mode}: unknown; give classifier, cot or cascade")
    if unknown := set(options) - set(EvaluateOptions.__annotations__):
        raise TypeError(f"evaluate() got an unexpected keyword argument {min(unknown)!r}")
    given = {name: value for name, value in options.items() if value is not None or name in _DECODING}
    of_cascade = ", ".join(f"`{name}`" for name in given if name not in _DECODING)
    if of_cascade and mode != "cascade":
        raise ConfigError(f"{of_cascade} needs `mode=cascade`, got {mode}; leave it out or change the mode")
    if "threshold" in given and "dev_data" in given:
        raise ConfigError("`dev_data`: rows to choose a threshold on, which `threshold` gives; leave one of them out")
    return given


def _choice(model_dir: str | Path, config: RunConfig | None, given: dict[str, Any]) -> Choice:
    """The threshold that was given, or the target and the rows to choose one on."""
    asked: dict[str, Any] = {name: given.get(name) for name in ("threshold", "target_accuracy", "target_cost")}
    if asked["threshold"] is not None or not any(value is not None for value in asked.values()):
        return Choice(**asked)
    own = "dev_data" not in given
    choose_on = held_out_rows(model_dir, config) if own else rows_of(model_dir, given["dev_data"], config=config)
    return Choice(**asked, choose_on=choose_on)
