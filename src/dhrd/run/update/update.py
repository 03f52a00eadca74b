"""Update: continue training an artifact on new rows, and judge the result before publishing it.

read the rows (`rows.py`) → train from the artifact (`model.keep_head`) → judge both models on new and old rows
(`gate.py`) → publish, or leave it beside

Work is kept in `OUTPUT.update`, so that an interrupted run can continue and OUTPUT never holds an unjudged model.
"""

from __future__ import annotations

import logging
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dhrd._files import replace_directory, saving, writing
from dhrd._temporary import remove_directory
from dhrd.artifact.info import ArtifactInfo, check_has_classifier, read_info
from dhrd.artifact.owned import artifact_fingerprint
from dhrd.config import RunConfig
from dhrd.data.label_space import check_one_task
from dhrd.errors import CheckpointError, ConfigError, UserError
from dhrd.inference.classifier import Classifier
from dhrd.run.finish import settle
from dhrd.run.rows import check_same_rows
from dhrd.run.train import train
from dhrd.run.update.gate import AnswerChange, UpdateGate, outcomes_of
from dhrd.run.update.rows import UpdateRows, UpdateSettings, update_rows
from dhrd.run.update.start import (
    REPORT,
    ROWS_STAMP,
    beside_output,
    check_update_place,
    is_published,
    update_config,
)
from dhrd.training.run_dir import read_run

logger = logging.getLogger("dhrd")


@dataclass(frozen=True, slots=True)
class Updated:
    """The result of an update.

    Args:
        output_dir: Directory of the updated model: the output, or beside it if the gate did not pass.
        gate: The gate's report.
    """

    output_dir: Path
    gate: UpdateGate


def update(settings: UpdateSettings, config: RunConfig | None = None, *, device: str | None = None) -> Updated:
    """Continue training an artifact on new rows, and publish it if accuracy on old rows did not drop too far.

    Args:
        settings: What to read, replay and judge.
        config: Training settings, based on `update_config`; None: just that.
        device: "cpu", "cuda" or "mps"; None: the best available.

    Returns:
        The updated model's directory and the gate's report.

    Raises:
        UserError: A setting, a row or the artifact cannot be used, or it has several tasks.
        NonFiniteError: Training diverged; its last checkpoint is intact.
        SaveError: A file could not be written.
    """
    work, rejected = beside_output(settings.output)
    check_update_place(settings.output)
    config = config or update_config(settings.model)
    info = read_info(settings.model)
    check_has_classifier(settings.model, info)
    check_one_task(info.labels, "an update")
    _warn_of_losses(info, config, settings.model)
    config.check_choices(has_validation=False)
    if config.data.labels is not None:
        raise ConfigError("data.labels: an update keeps its model's labels and their order; leave it out")
    with saving(str(work)):
        work.mkdir(exist_ok=True)
    try:
        rows = update_rows(settings, config, info, kept=work, device=device)
    except UserError:
        with suppress(OSError):
            work.rmdir()  # if it is still empty
        raise
    data = config.data.model_copy(update={"train": settings.new, "validation": None})
    config = config.model_copy(update={"data": data})
    asked = rows.train.load(), rows.eval_new, rows.eval_old
    check_same_rows(work / ROWS_STAMP, *asked, more=artifact_fingerprint(settings.model))
    artifact = settings.output if is_published(settings.output) else work / "artifact"
    _train(config, rows, artifact, work, device)
    gate = judge_update(settings, artifact, rows, task=info.task, device=device)
    with writing(artifact / REPORT) as file:
        file.json(gate.to_json())
    target = settings.output if gate.holds else rejected
    settle(artifact, config.model_copy(update={"output_dir": str(target)}))
    with saving(str(target)):
        if artifact != target:
            if target == rejected and rejected.exists():
                shutil.rmtree(rejected)
            replace_directory(artifact, target)
        remove_directory(work)
    return Updated(target, gate)


def _warn_of_losses(info: ArtifactInfo, config: RunConfig, model: Path) -> None:
    """Warn about what the new artifact does not inherit from the old one, and what that one never had."""
    if (temperature := info.calibration.get("temperature", 1.0)) != 1:
        logger.warning(
            "%s: its calibration (temperature %.3g) applies to the old weights and is dropped", model, temperature
        )
    if info.decision is not None:
        logger.warning(
            "%s: its decision applies to the old weights and is dropped; `dhrd decide` makes a new one", model
        )
    if not info.reasons and config.loss.reasoning_weight:
        logger.warning("%s: its reasoning head was not trained; it starts from the backbone's LM head", model)


def _train(config: RunConfig, rows: UpdateRows, output_dir: Path, work: Path, device: str | None) -> None:
    """Train the artifact, resuming a run that was started there."""
    config = config.model_copy(update={"output_dir": str(output_dir)})
    checkpoint = output_dir if read_run(output_dir) is not None else None
    try:
        train(config, train_dataset=rows.train, checkpoint=checkpoint, device=device)
    except CheckpointError as error:
        raise CheckpointError(f"{error}\nremove {work} to start over") from error


def judge_update(
    settings: UpdateSettings, artifact: Path, rows: UpdateRows, *, task: str | None = None, device: str | None = None
) -> UpdateGate:
    """Compare the updated artifact's answers on the held-out rows with those of the old one."""
    before, after = (Classifier.from_pretrained(one, device=device, dtype=None) for one in (settings.model, artifact))
    new, old = (
        AnswerChange.of(
            outcomes_of(before, examples, rows.labels), outcomes_of(after, examples, rows.labels), task=task
        )
        for examples in (rows.eval_new, rows.eval_old)
    )
    return UpdateGate(
        new=new,
        old=old,
        max_regression=settings.max_regression,
        num_new=rows.num_new,
        num_replayed=rows.num_replayed,
    )
