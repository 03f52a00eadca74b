"""Update: an artifact trained on with new rows, judged before it takes its place.

read the rows (`rows.py`) → train from the artifact (`model.keep_head`) → judge both on new and on old rows
(`gate.py`) → publish, or leave it beside

All grows in `OUTPUT.update`, so that a run which was stopped goes on, and OUTPUT is never a model that was not judged.
"""

from __future__ import annotations

import logging
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dhrd._files import publish, saving, writing
from dhrd.artifact.info import MANIFEST, ArtifactInfo, check_has_classifier, read_info
from dhrd.artifact.owned import artifact_fingerprint
from dhrd.config import RunConfig
from dhrd.data.label_space import check_one_task
from dhrd.errors import CheckpointError, ConfigError, UserError
from dhrd.inference.classifier import Classifier
from dhrd.run.rows import check_same_rows
from dhrd.run.train import train
from dhrd.run.update.gate import AnswerChange, UpdateGate, outcomes_of
from dhrd.run.update.rows import UpdateRows, UpdateSettings, update_rows
from dhrd.run.update.start import ROWS_STAMP, beside_output, check_update_place
from dhrd.training.run_dir import read_run

logger = logging.getLogger("dhrd")

REPORT = "update.json"
"""The gate's report, in the artifact."""


@dataclass(frozen=True, slots=True)
class Updated:
    """What an update came to.

    Args:
        output_dir: Where the updated model is: the output, or beside it where the gate did not hold.
        gate: What it did to the answers.
    """

    output_dir: Path
    gate: UpdateGate


def update(settings: UpdateSettings, config: RunConfig, *, device: str | None = None) -> Updated:
    """Train an artifact on with new rows, and publish it where old rows did not lose by that.

    Args:
        settings: What is read, replayed and judged.
        config: Of `update_config`, with what should be otherwise.
        device: "cpu", "cuda", "mps"; None: the best there is.

    Returns:
        Where the updated model is, and what it did to the answers.

    Raises:
        UserError: A setting, a row or the artifact cannot be used, or it has several tasks.
        NonFiniteError: Training diverged; its last checkpoint is intact.
        SaveError: A file could not be written.
    """
    work, rejected = beside_output(settings.output)
    check_update_place(settings.output)
    info = read_info(settings.model)
    check_has_classifier(settings.model, info)
    check_one_task(info.labels, "an update")
    _tell(info, config, settings.model)
    config.check_choices(has_validation=False)
    if config.data.labels is not None:
        raise ConfigError("data.labels: an update keeps the labels of its model in their places; leave it out")
    with saving(str(work)):
        work.mkdir(exist_ok=True)
    try:
        rows = update_rows(settings, config, info, kept=work, device=device)
    except UserError:
        with suppress(OSError):
            work.rmdir()  # where nothing is in it yet
        raise
    asked = rows.train.load(), rows.eval_new, rows.eval_old
    check_same_rows(work / ROWS_STAMP, *asked, more=artifact_fingerprint(settings.model))
    artifact = _train(settings, config, rows, work / "artifact", device)
    gate = judge_update(settings, artifact, rows, task=info.task, device=device)
    with writing(artifact / REPORT) as file:
        file.json(gate.to_json())
    target = settings.output if gate.holds else rejected
    with saving(str(target)):
        if target == rejected and rejected.exists():
            shutil.rmtree(rejected)
        publish(artifact, target, last=MANIFEST, stale=())
        shutil.rmtree(work)
    return Updated(target, gate)


def _tell(info: ArtifactInfo, config: RunConfig, model: Path) -> None:
    """What of the old artifact does not hold for the new one, and what was never there."""
    if (temperature := info.calibration.get("temperature", 1.0)) != 1:
        logger.warning("%s: its calibration (temperature %.3g) is of the old weights and left out", model, temperature)
    if info.decision is not None:
        logger.warning("%s: its decision is of the old weights and left out; `dhrd decide` makes another", model)
    if not info.reasons and config.loss.reasoning_weight:
        logger.warning("%s: its reasoning head was not trained: it begins as its backbone's", model)


def _train(settings: UpdateSettings, config: RunConfig, rows: UpdateRows, output_dir: Path, device: str | None) -> Path:
    """The trained artifact; a run that was begun there goes on."""
    data = config.data.model_copy(update={"train": settings.new, "validation": None})
    config = config.model_copy(update={"data": data, "output_dir": str(output_dir)})
    checkpoint = output_dir if read_run(output_dir) is not None else None
    try:
        train(config, train_dataset=rows.train, checkpoint=checkpoint, device=device)
    except CheckpointError as error:
        raise CheckpointError(f"{error}\nremove {output_dir.parent} to begin anew") from error
    return output_dir


def judge_update(
    settings: UpdateSettings, artifact: Path, rows: UpdateRows, *, task: str | None = None, device: str | None = None
) -> UpdateGate:
    """What an updated artifact answers to the held-out rows, beside what the old one does."""
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
