"""Train, evaluate, predict: the main path. Read this file first.

train: load rows → encode → model → fit → evaluate → save
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import broadcast_object_list

from dhrd.config import RunConfig, resolve
from dhrd.data.batches import PlannedUpdates, fingerprint
from dhrd.data.progress import track
from dhrd.data.records import Example, LabelSet, infer_labels
from dhrd.data.sequence import EncodedData, InputEncoder, SequenceEncoder
from dhrd.data.sources import Source, join_rationales, open_source
from dhrd.data.split import split_dev
from dhrd.data.superglue import Task
from dhrd.data.templates import InputTemplate
from dhrd.errors import CheckpointError, ConfigError, DataError, DhrdError
from dhrd.evaluation.card import model_card
from dhrd.evaluation.evaluate import (
    Evaluation,
    encode_labels,
    evaluate_classifier,
    evaluate_model,
    parity,
    rows_fingerprint,
)
from dhrd.evaluation.metrics import check_metric, higher_is_better, main_metric, numbers
from dhrd.inference.classifier import Classifier
from dhrd.losses import LabelLoss
from dhrd.model.artifact import (
    MANIFEST,
    ArtifactInfo,
    check_can_be_saved,
    kind_of,
    library_versions,
    save_artifact,
    saving,
    write_json,
)
from dhrd.model.backbone import Backbone, check_context, load_backbone
from dhrd.model.dual_head import DualHeadReasoningModel
from dhrd.training.loop import Watch, fit
from dhrd.training.setup import make_accelerator, make_stepper
from dhrd.training.sinks import AccelerateSink, JsonlSink, MlflowSink, Sink, autologging
from dhrd.training.state import Checkpoints, Position, find_checkpoint

if TYPE_CHECKING:
    from accelerate import Accelerator

logger = logging.getLogger("dhrd")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """The rows of a run.

    Args:
        train: What is trained on.
        choose: What choices are made on (best checkpoint, patience): dev where `dev_share` is set, else validation.
        validation: What is reported.
        choose_name: Where `choose` comes from, for `selected_on`.
        labels: The label set.
        template: The input template.
        task: The SuperGLUE task, where it is one.
    """

    train: list[Example]
    choose: list[Example]
    validation: list[Example]
    choose_name: str
    labels: LabelSet
    template: str
    task: Task | None


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
        validation_dataset: Rows instead of `data.validation`.
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
    accelerator = make_accelerator(config, device)
    output_dir, start = _on_main_process(accelerator, lambda: prepare_output(config, checkpoint, overwrite=overwrite))
    if (output_dir / MANIFEST).is_file():
        logger.warning("%s: training is finished already; nothing to do", output_dir)
        return TrainResult(output_dir=output_dir, was_finished=True)
    rows = load_rows(config, train_dataset, validation_dataset)
    backbone = backbone or load_backbone(config.model)
    check_context(backbone.model.config, config.data.max_sequence_tokens)
    data = {name: encode(config, rows, backbone, name) for name in ("train", "choose", "validation")}
    check_context(backbone.model.config, max(part.longest for part in data.values()))
    logger.info("train: %s", data["train"].summary())
    model = build_model(config, rows, backbone)
    position, steps = _fit(config, rows, data, model, accelerator, output_dir, start, callbacks)
    if accelerator.is_main_process:
        metrics = _save(config, rows, data, model, output_dir, steps)
        _finish(position, output_dir)
    else:
        metrics = {}
    accelerator.wait_for_everyone()
    return TrainResult(output_dir=output_dir, steps=steps, metrics=metrics, encoding=data["train"].summary())


def _on_main_process(accelerator: Accelerator, act: Callable[[], Any]) -> Any:
    """What `act` gives, done by one process alone: the others would see a directory half prepared."""
    outcome: list[Any] = [None]
    if accelerator.is_main_process:
        try:
            outcome = [act()]
        except DhrdError as error:
            outcome = [error]
    broadcast_object_list(outcome)
    if isinstance(outcome[0], DhrdError):
        raise outcome[0]
    return outcome[0]


def prepare_output(config: RunConfig, checkpoint: str | Path | None, *, overwrite: bool) -> tuple[Path, Path | None]:
    """Decide where to write and where to go on.

    Returns:
        (output_dir, the checkpoint to go on from, or None).

    Raises:
        ConfigError: output_dir is not empty and neither `--checkpoint` nor `--overwrite` was given.
        CheckpointError: The run there is of another config, or the checkpoint is not there.
    """
    output_dir, start = Path(config.output_dir), None
    if checkpoint is not None:
        output_dir, start = find_checkpoint(Path(checkpoint))
        found = read_run(output_dir)
        if found is not None:
            _check_same(found, config, output_dir)
        if start is None and not (output_dir / MANIFEST).is_file():
            logger.warning("%s: no whole checkpoint yet; starting over", output_dir)
    elif output_dir.is_dir() and any(output_dir.iterdir()):
        if not overwrite:
            raise ConfigError(
                f"output_dir: {output_dir} is not empty; go on with --checkpoint {output_dir}, replace it with "
                "--overwrite, or give another --set output_dir=…"
            )
        (output_dir / MANIFEST).unlink(missing_ok=True)
        shutil.rmtree(output_dir / "checkpoints", ignore_errors=True)
    if not (output_dir / MANIFEST).is_file():
        with saving(str(output_dir)):
            (output_dir / "checkpoints").mkdir(parents=True, exist_ok=True)
            write_json(output_dir / "checkpoints" / "run.json", _run_record(config))
    return output_dir, start


def read_run(output_dir: Path) -> RunConfig | None:
    """The config that a run in a directory was started with; None where there is none."""
    for path in (output_dir / "run.json", output_dir / "checkpoints" / "run.json"):
        if path.is_file():
            try:
                return resolve(json.loads(path.read_text(encoding="utf-8"))["config"], source=str(path))
            except (ValueError, KeyError) as error:
                raise CheckpointError(f"{path}: damaged ({error})") from error
    return None


def _run_record(config: RunConfig) -> dict[str, Any]:
    return {"config": config.model_dump(mode="json"), "seed": config.seed, "versions": library_versions()}


_FREE = {"output_dir", "tracking"}  # may differ between a run and its continuation: they decide no weight


def _identity(config: RunConfig) -> dict[str, Any]:
    return config.model_dump(mode="json", exclude=_FREE)


def _check_same(found: RunConfig, config: RunConfig, output_dir: Path) -> None:
    theirs, ours = _flat(_identity(found)), _flat(_identity(config))
    odd = [
        f"{name}: {theirs.get(name)!r} there, {ours.get(name)!r} now"
        for name in theirs | ours
        if theirs.get(name) != ours.get(name)
    ]
    if odd:
        raise CheckpointError(
            f"--checkpoint {output_dir}: the run there has other settings ({'; '.join(odd)}); "
            "leave --config and --set out to go on with its own, or give another output_dir"
        )


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return flat


def load_rows(config: RunConfig, train_dataset: Any = None, validation_dataset: Any = None) -> Rows:
    """Read all rows, join rationales, cut off dev, and check that labels and losses fit.

    Raises:
        DataError: A row is malformed; train and validation differ in their labels; no row has a rationale where the
            reasoning head needs one.
        ConfigError: There is no training data.
    """
    settings = config.data
    spec = train_dataset if train_dataset is not None else settings.train
    if spec is None:
        raise ConfigError("data.train is not set: give --set data.train=FILE (or superglue:TASK, hub:NAME)")
    source = open_source(spec, settings, split="train")
    train = source.load(limit=settings.train_limit)
    if settings.rationales is not None:
        train, joined = join_rationales(train, settings.rationales)
        logger.info("%s", joined.summary())
    labels = label_set(config, source, train)
    _check_labels(train, labels, "train")
    validation = _load_validation(config, validation_dataset, labels)
    _check_rationales(config, train)
    choose, choose_name = validation, str(settings.validation)
    if settings.dev_share:
        train, choose = split_dev(train, settings.dev_share, config.seed)
        choose_name = f"{settings.dev_share} of {settings.train}"
    return Rows(
        train=train,
        choose=choose,
        validation=validation,
        choose_name=choose_name,
        labels=labels,
        template=source.template,
        task=source.task,
    )


def label_set(config: RunConfig, source: Source, examples: Sequence[Example]) -> LabelSet:
    """The label set: the config's, the source's, or what the rows show."""
    names = config.data.labels
    if names is None and source.labels is not None:
        if config.model.num_labels not in (None, len(source.labels)):
            raise DataError(
                f"model.num_labels is {config.model.num_labels}; {source.name} has {len(source.labels)} labels"
            )
        return source.labels
    return infer_labels(examples, names=names, num_labels=config.model.num_labels)


def _check_labels(examples: Sequence[Example], labels: LabelSet, name: str) -> None:
    try:
        encode_labels(examples, labels)
    except DataError as error:
        raise DataError(
            f"data.{name}: labels that the training rows do not have:\n{error}" if name != "train" else str(error)
        ) from error


def _load_validation(config: RunConfig, dataset: Any, labels: LabelSet) -> list[Example]:
    spec = dataset if dataset is not None else config.data.validation
    if spec is None:
        return []
    examples = open_source(spec, config.data, split="validation").load(limit=config.data.validation_limit)
    _check_labels(examples, labels, "validation")
    return examples


def _check_rationales(config: RunConfig, examples: Sequence[Example]) -> None:
    if not config.loss.reasoning_weight or config.data.rationale_mode == "label_only":
        return
    if not any(example.rationale for example in examples):
        raise DataError(
            "no training row has a rationale, so loss.reasoning_weight has nothing to learn from: add a rationale "
            "column or data.rationales=FILE, or set loss.reasoning_weight=0 for the pooled baseline"
        )


def encode(config: RunConfig, rows: Rows, backbone: Backbone, part: str) -> EncodedData:
    """Tokenise one part of the rows ("train", "choose", "validation"); only train is taught rationales."""
    examples: list[Example] = getattr(rows, part)
    is_train = part == "train"
    encoder = SequenceEncoder(
        inputs=InputEncoder(
            tokenizer=backbone.tokenizer,
            template=InputTemplate(rows.template, chat=config.data.chat),
            max_input_tokens=config.data.max_input_tokens,
            mend_pad_ending=not is_train,
        ),
        labels=rows.labels,
        max_sequence_tokens=config.data.max_sequence_tokens,
        with_reasoning=is_train and config.loss.reasoning_weight > 0,
        rationale_mode=config.data.rationale_mode if is_train else "aligned",
        seed=config.seed,
    )
    return encoder.encode(examples, description=f"tokenising {part}")


def build_model(config: RunConfig, rows: Rows, backbone: Backbone) -> DualHeadReasoningModel:
    """The model of a run, its head drawn from the run's seed.

    Raises:
        ModelError: The backbone cannot carry it, or could not be saved as a classifier.
    """
    torch.manual_seed(config.seed)
    model = DualHeadReasoningModel(
        num_labels=len(rows.labels),
        settings=config.model,
        loss=config.loss,
        backbone=backbone,
        label_loss=_label_loss(config, rows),
        seed=config.seed,
    )
    if warning := check_can_be_saved(model):
        logger.warning("%s", warning)
    return model


def _label_loss(config: RunConfig, rows: Rows) -> LabelLoss:
    given, names = config.loss.class_weights, rows.labels.names
    weights = None
    if given == "balanced":
        counts = encode_labels(rows.train, rows.labels).sum(0)
        weights = torch.tensor([counts.sum() / (len(names) * max(1, count)) for count in counts], dtype=torch.float32)
    elif given is not None:
        if set(given) != set(names):
            raise ConfigError(
                f"loss.class_weights: give one weight for each of {', '.join(names)}; got {', '.join(given)}"
            )
        weights = torch.tensor([given[name] for name in names], dtype=torch.float32)
    return LabelLoss(multi_label=rows.labels.multi_label, class_weight_C=weights, smoothing=config.loss.label_smoothing)


def _fit(
    config: RunConfig,
    rows: Rows,
    data: Mapping[str, EncodedData],
    model: DualHeadReasoningModel,
    accelerator: Accelerator,
    output_dir: Path,
    start: Path | None,
    callbacks: Sequence[Sink],
) -> tuple[list[Sink], int]:
    settings = config.training
    updates = PlannedUpdates(
        examples=data["train"].examples,
        num_labels=len(rows.labels),
        pad_token_id=model.tokenizer.pad_token_id,
        lm_targets=config.loss.lm_targets,
        batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.gradient_accumulation_steps,
        num_processes=accelerator.num_processes,
        process_index=accelerator.process_index,
        seed=config.seed,
    )
    stepper = make_stepper(model, config, accelerator, updates.updates_per_epoch * settings.num_epochs)
    identity = {
        "config": _identity(config),
        "rows": fingerprint(data["train"].examples),
        "processes": accelerator.num_processes,
    }
    checkpoints = Checkpoints(output_dir / "checkpoints", identity)
    torch.manual_seed(config.seed + accelerator.process_index)  # dropout differs between processes
    position = checkpoints.restore(start, stepper, model) if start is not None else Position()
    if start is not None:
        logger.warning("going on after step %d from %s", position.step, start)
    with _open_sinks(config, accelerator, output_dir, position, callbacks) as sinks:
        end = fit(
            stepper,
            model,
            updates,
            settings,
            evaluate_fn=_evaluate_fn(rows, data, config, accelerator) if rows.choose else None,
            watch=_watch(config, rows),
            sinks=sinks,
            checkpoints=checkpoints,
            position=position,
        )
    return sinks, end.step


def _watch(config: RunConfig, rows: Rows) -> Watch | None:
    if config.training.selection == "last" and config.training.patience is None:
        return None
    metric = config.training.metric or main_metric(rows.task)
    check_metric(metric, rows.task, multi_label=rows.labels.multi_label)
    return Watch(metric=metric, higher_is_better=higher_is_better(metric))


def _evaluate_fn(rows: Rows, data: Mapping[str, EncodedData], config: RunConfig, accelerator: Accelerator) -> Any:
    if config.loss.classification_weight == 0:
        return None

    def evaluate_now(model: DualHeadReasoningModel) -> dict[str, float]:
        with accelerator.autocast():
            found = evaluate_model(model, data["choose"].examples, rows.labels, task=rows.task, accelerator=accelerator)
        return numbers(found)

    return evaluate_now


@contextmanager
def _open_sinks(
    config: RunConfig, accelerator: Accelerator, output_dir: Path, position: Position, callbacks: Sequence[Sink]
) -> Iterator[list[Sink]]:
    """The run's sinks; told of a failure, left open after success: the artifact is still to come."""
    sinks: list[Sink] = list(callbacks)
    tracking, params = config.tracking, _flat(config.model_dump(mode="json"))
    try:
        if accelerator.is_main_process:
            sinks.append(JsonlSink(output_dir / "metrics.jsonl", position.step))
            if "mlflow" in tracking.report_to or autologging():
                run_id = (position.tracker or {}).get("mlflow_run_id")
                sinks.append(
                    MlflowSink(
                        params,
                        uri=tracking.uri,
                        experiment=tracking.experiment,
                        run_name=tracking.run_name,
                        run_id=run_id,
                    )
                )
        if any(one != "mlflow" for one in tracking.report_to):
            sinks.append(AccelerateSink(accelerator, tracking.experiment, params))
        yield sinks
    except BaseException as error:
        for sink in sinks:
            sink.abort("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
        raise


def _finish(sinks: Sequence[Sink], output_dir: Path) -> None:
    for sink in sinks:
        sink.finish(output_dir)
    shutil.rmtree(output_dir / "checkpoints", ignore_errors=True)


def _save(
    config: RunConfig,
    rows: Rows,
    data: Mapping[str, EncodedData],
    model: DualHeadReasoningModel,
    output_dir: Path,
    steps: int,
) -> dict[str, Any]:
    """Evaluate the final weights, write the artifact, and compare the two where they may differ."""
    metrics: dict[str, Any] = {}
    has_classifier = config.loss.classification_weight > 0
    if rows.validation and has_classifier:
        metrics = evaluate_model(model, data["validation"].examples, rows.labels, task=rows.task, intervals=True)
        metrics["selected_on"] = _was_choice(config) and not config.data.dev_share
    chose = {"rows": rows.choose_name, "fingerprint": rows_fingerprint(data["choose"].texts)}
    info = ArtifactInfo(
        kind=kind_of(model),
        labels=rows.labels,
        input_template=rows.template,
        chat=config.data.chat,
        max_input_tokens=config.data.max_input_tokens,
        max_sequence_tokens=config.data.max_sequence_tokens,
        head=config.model.head,
        pooling=config.model.pooling,
        task=rows.task.name if rows.task else None,
        training={
            "backbone": model.backbone_name,
            "steps": steps,
            "num_train_examples": len(data["train"]),
            "num_with_rationale": data["train"].num_with_rationale,
            "num_inputs_cut": data["train"].num_inputs_cut,
            "num_rationales_cut": data["train"].num_rationales_cut,
            "classification_weight": config.loss.classification_weight,
            "reasoning_weight": config.loss.reasoning_weight,
            "seed": config.seed,
            "selected_on": chose if _was_choice(config) else None,
            "metrics": metrics,
        },
    )
    record = _run_record(config) | {"donors": data["train"].donors}
    save_artifact(output_dir, model, info, card=model_card(info, config), run=record)
    if has_classifier and (config.model.lora or config.model.dtype not in (None, "float32")):
        _report_parity(model, output_dir, data)
    return metrics


def _was_choice(config: RunConfig) -> bool:
    return config.training.selection == "best" or config.training.patience is not None


def _report_parity(model: DualHeadReasoningModel, output_dir: Path, data: Mapping[str, EncodedData]) -> None:
    some = (data["validation"].examples or data["train"].examples)[:64]
    classifier = Classifier.from_pretrained(output_dir, device=str(model.head.score.weight.device))
    found = parity(model, classifier, [example.input_ids for example in some])
    logger.warning(
        "artifact against the trained model on %d rows: largest probability difference %.2g, same label on %.1f %%",
        found["num_examples"],
        found["max_probability_difference"],
        100 * found["label_agreement"],
    )


def evaluate(
    model_dir: str | Path,
    data: Any = None,
    *,
    split: str = "validation",
    config: RunConfig | None = None,
    device: str | None = None,
    limit: int | None = None,
) -> Evaluation:
    """Evaluate an artifact on labelled rows.

    Args:
        model_dir: What `train` wrote.
        data: As `data.train` of a config, or rows; None: the run's own data for the split.
        split: Of `superglue:` and `hub:`; or which of the run's own files.
        config: Column names, the SuperGLUE folder, batch size; None: as in training.
        device: "cpu", "cuda", "mps"; None: the best there is.
        limit: Only the first rows.

    Raises:
        UserError: The artifact or the rows cannot be used.
    """
    classifier = Classifier.from_pretrained(model_dir, device=device)
    config = config or read_run(Path(model_dir)) or RunConfig()
    spec = data if data is not None else getattr(config.data, split, None)
    if spec is None:
        raise ConfigError(f"no rows to evaluate: give --data SPEC, or set data.{split}")
    return evaluate_classifier(classifier, _source(spec, split, config, classifier).load(limit=limit))


def _source(spec: Any, split: str, config: RunConfig, classifier: Classifier) -> Source:
    settings = config.data.model_copy(update={"input_template": classifier.info.input_template})
    return open_source(spec, settings, split=split)


def predict(
    model_dir: str | Path,
    data: Any,
    *,
    split: str = "test",
    config: RunConfig | None = None,
    device: str | None = None,
) -> Iterator[dict[str, Any]]:
    """Label rows, in order, in constant memory.

    Args:
        model_dir: What `train` wrote.
        data: As `data.train` of a config, or rows; labels are not needed.
        split: Of `superglue:` and `hub:`.
        config: Column names; None: as in training.
        device: "cpu", "cuda", "mps"; None: the best there is.

    Yields:
        `id`, `label`, `probabilities`.

    Raises:
        UserError: The artifact or a row cannot be used; rows before it were yielded.
    """
    classifier = Classifier.from_pretrained(model_dir, device=device)
    config = config or read_run(Path(model_dir)) or RunConfig()
    examples = _source(data, split, config, classifier).examples(labels_required=False)
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
