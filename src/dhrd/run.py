"""Train, evaluate, predict: the main path. Read this file first.

train: load rows → encode → model → fit → evaluate → save
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from accelerate.utils import broadcast_object_list

from dhrd.config import RunConfig
from dhrd.data.progress import track
from dhrd.data.records import Example
from dhrd.data.rows import Rows, load_rows
from dhrd.data.sequence import EncodedData
from dhrd.errors import ConfigError, DhrdError
from dhrd.evaluation.cascade import CascadeEvaluation, evaluate_cascade
from dhrd.evaluation.decoded import DecodedEvaluation, evaluate_decoded
from dhrd.evaluation.evaluate import Evaluation, WriteRow, evaluate_classifier, evaluate_model
from dhrd.evaluation.finish import save
from dhrd.evaluation.metrics import check_metric, higher_is_better, main_metric, numbers
from dhrd.evaluation.rows import each_row_of, held_out_rows, open_rows, rows_of
from dhrd.inference.cascade import CoT
from dhrd.inference.classifier import Classifier
from dhrd.inference.cot import Reasoner, check_answers
from dhrd.model.backbone import Backbone, load_backbone
from dhrd.model.dual_head import DualHeadReasoningModel
from dhrd.training.assemble import build_model, encode, plan_updates, resume, run_identity
from dhrd.training.directory import Place, prepare_output, read_precision, read_run, start_run
from dhrd.training.loop import EvaluateFn, Watch, fit
from dhrd.training.setup import Precision, choose_precision, make_accelerator, make_stepper, start_processes
from dhrd.training.sinks import Sink, check_callbacks, open_sinks
from dhrd.training.state import Checkpoints

if TYPE_CHECKING:
    from accelerate import Accelerator, PartialState

logger = logging.getLogger("dhrd")

Mode = Literal["classifier", "cot", "cascade"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult:
    """What training gave.

    Args:
        output_dir: The artifact.
        steps: Updates done.
        metrics: Of the validation rows; empty where there are none.
        encoding: What happened to the training rows on the way to tokens.
        was_finished: The run had ended before; nothing was done.
    """

    output_dir: Path
    steps: int = 0
    metrics: dict[str, Any] = field(default_factory=dict)
    encoding: str = ""
    was_finished: bool = False


def train(
    config: RunConfig,
    *,
    train_dataset: Any = None,
    validation_dataset: Any = None,
    backbone: Backbone | None = None,
    callbacks: Sequence[Sink] = (),
    checkpoint: str | Path | None = None,
    overwrite: bool = False,
    device: str | None = None,
) -> TrainResult:
    """Train a dual-head classifier and write it as an artifact to `config.output_dir`.

    Args:
        config: The settings.
        train_dataset: Rows instead of `data.train`: a `datasets.Dataset`, dicts, or `Example`s.
        validation_dataset: Rows instead of `data.validation`; they serve choices as those do.
        backbone: A loaded backbone, changed in place, instead of `model.name_or_path`.
        callbacks: Further sinks for every logged number.
        checkpoint: Go on with the run in this `output_dir`, or from one checkpoint in it.
        overwrite: Replace a run that is in `output_dir`.
        device: "cpu", "cuda", "mps"; None: the best there is.

    Returns:
        Where the artifact is, and its metrics.

    Raises:
        UserError: A setting, a row, the backbone or a checkpoint cannot be used.
        NonFiniteError: Training diverged; the last checkpoint is intact.
        SaveError: A file could not be written; the last checkpoint is intact.
    """
    check_callbacks(callbacks)
    config.check_choices(has_validation=validation_dataset is not None or config.data.validation is not None)
    processes = start_processes(config, device)
    with ExitStack() as held:  # the lock on output_dir, on the main process
        place = _on_main_process(processes, lambda: prepare_output(config, checkpoint, overwrite=overwrite, held=held))
        if place.is_finished:
            logger.warning("%s: training is finished already; nothing to do", place.output_dir)
            return TrainResult(output_dir=place.output_dir, was_finished=True)
        return _train(config, train_dataset, validation_dataset, backbone, callbacks, place, device, processes)


def _train(
    config: RunConfig,
    train_dataset: Any,
    validation_dataset: Any,
    backbone: Backbone | None,
    callbacks: Sequence[Sink],
    place: Place,
    device: str | None,
    processes: Accelerator | PartialState,
) -> TrainResult:
    """The whole way, with output_dir held."""
    output_dir, start = place.output_dir, place.start
    rows = load_rows(config, train_dataset, validation_dataset)
    watch = make_watch(config, rows)
    backbone = backbone or load_backbone(config.model, seed=config.seed)
    recorded = output_dir if place.goes_on else None
    precision = _on_main_process(processes, lambda: _precision(config, recorded, backbone, device))
    accelerator = make_accelerator(config, device, precision)
    data = encode(config, rows, backbone)
    model = build_model(config, rows, backbone)
    belongs = run_identity(config, rows, data, model, accelerator)
    updates = plan_updates(config, rows, data, model, accelerator)
    stepper = make_stepper(model, config, accelerator, updates.updates_per_epoch * config.training.num_epochs)
    _on_main_process(accelerator, lambda: start_run(output_dir, config, precision, fresh=start is None))
    checkpoints = Checkpoints(output_dir / "checkpoints", belongs)
    position = resume(checkpoints, start, stepper, model, config)
    with open_sinks(config, accelerator, output_dir, position, callbacks) as sinks:
        end = fit(
            stepper,
            model,
            updates,
            config.training,
            evaluate_fn=make_evaluate_fn(rows, data, config, accelerator),
            watch=watch,
            sinks=sinks,
            checkpoints=checkpoints,
            position=position,
        )
        metrics = {}
        if accelerator.is_main_process:
            metrics = save(config, rows, data, model, output_dir, end.step, precision)
        checkpoints.remove(accelerator)  # before the sinks are told: whatever they raise, nothing is left behind
    return TrainResult(output_dir=output_dir, steps=end.step, metrics=metrics, encoding=data["train"].summary())


def _on_main_process(processes: Accelerator | PartialState, act: Callable[[], Any]) -> Any:
    """What `act` gives, done by one process alone: the others would see a directory half prepared."""
    outcome: list[Any] = [None]
    if processes.is_main_process:
        try:
            outcome = [act()]
        except DhrdError as error:
            outcome = [error]
    broadcast_object_list(outcome)
    if isinstance(outcome[0], DhrdError):
        raise outcome[0]
    return outcome[0]


def _precision(config: RunConfig, recorded: Path | None, backbone: Backbone, device: str | None) -> Precision:
    """What the run in `recorded` began with, else chosen: measured again it might come out differently."""
    found = read_precision(recorded) if recorded is not None else None
    return found or choose_precision(config.training.mixed_precision, device, backbone.model.config)


def make_watch(config: RunConfig, rows: Rows) -> Watch | None:
    """What chooses the weights; None where the last are taken.

    Raises:
        ConfigError: The task has no such metric.
    """
    if config.training.selection == "last" and config.training.patience is None:
        return None
    metric = config.training.metric or main_metric(rows.task)
    check_metric(metric, rows.task, multi_label=rows.labels.multi_label)
    return Watch(metric=metric, higher_is_better=higher_is_better(metric))


def make_evaluate_fn(
    rows: Rows, data: Mapping[str, EncodedData], config: RunConfig, accelerator: Accelerator
) -> EvaluateFn | None:
    """What evaluates the model during training, on the rows of choices; None without such rows or a classifier."""
    if not rows.choose or config.loss.classification_weight == 0:
        return None

    def evaluate_now(model: DualHeadReasoningModel) -> dict[str, float]:
        with accelerator.autocast():
            found = evaluate_model(model, data["choose"].examples, rows.labels, task=rows.task, accelerator=accelerator)
        return numbers(found)

    return evaluate_now


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
) -> Evaluation | DecodedEvaluation | CascadeEvaluation:
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

    Returns:
        An `Evaluation`; with `cot` a `DecodedEvaluation`, with `cascade` a `CascadeEvaluation`.

    Raises:
        UserError: The artifact or the rows cannot be used.
    """
    if mode not in ("classifier", "cot", "cascade"):
        raise ConfigError(f"--mode {mode}: unknown; give classifier, cot or cascade")
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
            f"{', '.join(odd)}: of --mode cascade, and the mode is {mode}; leave it out, or give that mode"
        )
    if given["threshold"] is not None and given["dev_data"] is not None:
        raise ConfigError("dev_data: rows to choose a threshold on, which threshold gives; leave one of them out")


def _written(
    found: DecodedEvaluation | CascadeEvaluation, write_row: WriteRow | None
) -> DecodedEvaluation | CascadeEvaluation:
    if write_row is not None:
        for row in found.rows():
            write_row(row)
    return found


def predict(
    model_dir: str | Path,
    data: Any,
    *,
    split: str = "test",
    config: RunConfig | None = None,
    **options: Any,
) -> Iterator[dict[str, Any]]:
    """Label rows, in order, in constant memory.

    Args:
        model_dir: What `train` wrote.
        data: As `data.train` of a config, or rows; labels are not needed.
        split: Of `superglue:` and `hub:`.
        config: Column names; None: as in training.
        **options: As `Classifier.from_pretrained`'s: `device`, `dtype`, `max_tokens_per_pass`, `share_prefixes`,
            `compile`, `strict`.

    Yields:
        `id`, `label`, `probabilities`.

    Raises:
        UserError: The artifact or a row cannot be used; rows before it were yielded.
    """
    classifier = Classifier.from_pretrained(model_dir, **options)
    config = config or read_run(Path(model_dir)) or RunConfig()
    examples = open_rows(data, split, config, classifier.info).examples(labels_required=False)
    for prediction in track(classifier.stream(examples), "predicting"):
        yield {"id": prediction.id, "label": prediction.label, "probabilities": prediction.probabilities}
    if classifier.num_cut or classifier.num_mended:
        logger.warning(
            "%d inputs were shortened to %d tokens; %d ended in the padding token and got a newline",
            classifier.num_cut,
            classifier.info.max_input_tokens,
            classifier.num_mended,
        )


__all__ = ["DhrdError", "Rows", "TrainResult", "evaluate", "load_rows", "predict", "train"]
