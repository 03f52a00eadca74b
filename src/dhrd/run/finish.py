"""The end of training: evaluate the final weights, write the artifact, and check the artifact against them."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from torch.distributed.fsdp import FSDPModule

from dhrd._files import writing
from dhrd._text import clipped, message_of
from dhrd.artifact.card import model_card
from dhrd.artifact.info import ArtifactInfo, read_info
from dhrd.artifact.known_rows import CHOSEN, TRAINED
from dhrd.artifact.write import kind_of, save_artifact
from dhrd.config import RunConfig
from dhrd.config.published import published
from dhrd.data.digest import digest_of, rows_digest
from dhrd.data.records import LabelSet
from dhrd.data.rows import Rows
from dhrd.data.sequence import EncodedData
from dhrd.errors import is_out_of_memory
from dhrd.evaluation.evaluate import parity, rows_fingerprint, trained_logits
from dhrd.evaluation.live import LiveModel, calibrate_head
from dhrd.inference.classifier import Classifier
from dhrd.model.adapters import is_quantized
from dhrd.model.dual_head import DualHeadModel
from dhrd.run.trained import backbone_digests
from dhrd.training.build import Encoded, Parts
from dhrd.training.checkpoint_files import read_object
from dhrd.training.position import Position
from dhrd.training.run_dir import run_record
from dhrd.training.setup import Precision

logger = logging.getLogger("dhrd")


def save(parts: Parts, output_dir: Path, end: Position, precision: Precision) -> dict[str, Any]:
    """Evaluate the final weights, write the artifact, and check it against them where the two may differ.

    With `training.calibrate`, the head is first divided by a fitted temperature.

    Args:
        parts: A run whose training has ended.
        output_dir: Directory for the artifact.
        end: Where its training ended.
        precision: The run's precision, for run.json.

    Returns:
        The metrics on the validation rows; empty if there are none.

    Raises:
        SaveError: The artifact could not be written.
    """
    config, rows, data, model = parts.config, parts.rows, parts.data, parts.model
    live = LiveModel.of(model, parts.accelerator)
    metrics: dict[str, Any] = {}
    has_classifier = config.loss.classification_weight > 0
    info = artifact_info(config, rows, data.train, model)
    if config.training.calibrate:
        temperatures = calibrate_head(live, data.choose.examples, rows.labels)
        calibration = {f"temperature/{task}".rstrip("/"): value for task, value in temperatures.items()}
        info = info.model_copy(update={"calibration": calibration})
    # A temperature changes no label, but the log loss on the rows it was fitted on is optimistic.
    was_choice = end.has_chosen or config.training.calibrate
    if rows.validation and has_classifier:
        metrics = live.evaluate(data.validation.examples, rows.labels, task=rows.task, intervals=True)
        metrics["selected_on"] = was_choice and not rows.has_dev
    chosen_on = {"rows": rows.choose_name, "fingerprint": rows_fingerprint(data.choose.texts)} if was_choice else None
    read = {"train": rows_digest(rows.train), "held_out": rows_digest(rows.choose) if rows.has_dev else None}
    trained = {**info.training, "steps": end.step, "selected_on": chosen_on, "rows": read, "metrics": metrics}
    info = info.model_copy(update={"training": trained})
    record = run_record(config, precision) | {"donors": data.train.donors}
    known = {TRAINED: {*map(digest_of, rows.train), *backbone_digests(config.model.name_or_path)}}
    if was_choice:
        known[CHOSEN] = {*map(digest_of, rows.choose)}
    save_artifact(output_dir, model, info, card=model_card(info, config), run=record, known=known)
    if has_classifier and (config.model.lora or config.model.dtype not in (None, "float32")):
        _report_parity(model, output_dir, data)
    return metrics


def settle(directory: Path, config: RunConfig, *, judged_on: str | None = None) -> None:
    """Let a finished artifact's run.json and card tell these settings, as if it had been trained with them.

    Args:
        directory: The artifact.
        config: The settings that the user gave, with the directory where the artifact ends up.
        judged_on: The rows of its metrics, if not `data.validation`.

    Raises:
        ArtifactError: The directory is not an artifact.
        CheckpointError: Its run.json is damaged.
        SaveError: A file cannot be written.
    """
    record = read_object(directory / "run.json") | {"config": published(config)}
    with writing(directory / "run.json") as file:
        file.json(record)
    if judged_on is not None:
        config = config.model_copy(update={"data": config.data.model_copy(update={"validation": judged_on})})
    with writing(directory / "README.md") as file:
        file.write(model_card(read_info(directory), config))


def artifact_info(config: RunConfig, rows: Rows, train: EncodedData, model: DualHeadModel) -> ArtifactInfo:
    """The `dhrd.json` of a trained model."""
    return ArtifactInfo(
        kind=kind_of(model),
        labels=rows.labels,
        input_template=rows.template,
        columns=dict(config.data.columns) if rows.task is None else {},
        task_columns={name: task.column for name, task in (config.tasks or {}).items() if task.column is not None},
        label_separator=config.data.label_separator if rows.task is None else None,
        chat=config.data.chat,
        max_input_tokens=config.data.max_input_tokens,
        max_sequence_tokens=config.data.max_sequence_tokens,
        head=config.model.head,
        pooling=config.model.pooling,
        task=rows.task.name if rows.task else None,
        training={
            "backbone": model.backbone_name,
            "num_train_examples": len(train),
            "num_with_rationale": train.num_with_rationale,
            **({"num_labelled": counts} if (counts := _num_labelled(rows.labels, train)) else {}),
            "num_inputs_cut": train.num_inputs_cut,
            "num_rationales_cut": train.num_rationales_cut,
            "classification_weight": config.loss.classification_weight,
            "reasoning_weight": config.loss.reasoning_weight if config.loss.lm_targets != "input" else 0,
            "seed": config.seed,
        },
    )


def _num_labelled(labels: LabelSet, train: EncodedData) -> dict[str, int]:
    """With several tasks, the number of labelled rows per task; else empty."""
    return {
        task.name: sum(number not in example.unlabelled for example in train.examples)
        for number, task in enumerate(labels.slices)
        if task.name
    }


def _report_parity(model: DualHeadModel, output_dir: Path, data: Encoded) -> None:
    """Log how far the artifact is from the trained model; if memory runs out, which must not cost the run, say so."""
    device = model.head.score.weight.device
    try:
        differences = _differences(model, output_dir, data, device)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        logger.warning("the artifact was not compared with the trained model: %s", clipped(message_of(error)))
    else:
        logger.warning(
            "artifact against the trained model on %d rows: largest probability difference %.2g, same label on %.1f %%",
            differences["num_examples"],
            differences["max_probability_difference"],
            100 * differences["label_agreement"],
        )
    if _can_be_moved(model):  # back: its backbone may be the caller's
        model.to(device)


def _differences(model: DualHeadModel, output_dir: Path, data: Encoded, device: torch.device) -> dict[str, float]:
    """What `parity` finds. The device, where the optimizer is too, need not hold the model and the artifact at once."""
    examples = (data.validation.examples or data.train.examples)[:64]
    input_ids = [example.input_ids for example in examples]
    trained_BC = trained_logits(model, input_ids)
    if _can_be_moved(model):
        model.to("cpu")
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return parity(trained_BC, Classifier.from_pretrained(output_dir, device=device, dtype=None), input_ids)


def _can_be_moved(model: DualHeadModel) -> bool:
    """Whether it can leave its device and return; quantized weights, and those gathered from shards, cannot."""
    return not any(is_quantized(module) or isinstance(module, FSDPModule) for module in model.modules())
