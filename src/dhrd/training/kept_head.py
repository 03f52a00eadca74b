"""Continued training from an artifact: its head's rows, matched by label."""

from __future__ import annotations

import logging
from pathlib import Path

import torch

from dhrd.artifact.digests import PARTS
from dhrd.artifact.info import check_has_classifier, read_info
from dhrd.artifact.read import check_parts
from dhrd.artifact.weights import load_classification_head
from dhrd.data.label_names import listed
from dhrd.data.label_space import check_one_task
from dhrd.data.records import LabelSet
from dhrd.errors import ConfigError
from dhrd.model.dual_head import DualHeadModel

logger = logging.getLogger("dhrd")


def keep_head(model: DualHeadModel, labels: LabelSet, directory: Path) -> None:
    """Initialise a model's head from an artifact's, for the labels that the artifact has; other rows are unchanged.

    A temperature that calibration divided the rows by is undone, so that they are as trained.

    Args:
        model: The model whose head is changed.
        labels: The run's labels, in the order of the head's rows.
        directory: The artifact.

    Raises:
        ArtifactError: The directory is not an artifact, is damaged, or has no classifier.
        ConfigError: Its head is of a different kind than the run's, covers several tasks, or has none of the labels.
    """
    info = read_info(directory)
    check_has_classifier(directory, info)
    check_one_task(info.labels, "model.keep_head")
    if (info.head, info.pooling) != (model.settings.head, model.settings.pooling):
        raise ConfigError(
            f"model.keep_head: the head of {directory} is {info.head} with pooling {info.pooling}; set "
            f"model.head={info.head} and model.pooling={info.pooling}"
        )
    kept = [name for name in labels.names if name in info.labels.names]
    if not kept:
        raise ConfigError(
            f"model.keep_head: {directory} has none of the labels {listed(labels.names)}, but "
            f"{listed(info.labels.names)}; leave it out"
        )
    check_parts(directory, info, *PARTS)
    theirs = load_classification_head(directory, info)
    ours = [labels.names.index(name) for name in kept]
    with torch.no_grad():
        rows_CD = theirs.score.weight[[info.labels.names.index(name) for name in kept]]
        score = model.head.score.weight
        score[ours] = rows_CD.to(score.device) * info.calibration.get("temperature", 1.0)
        if model.head.dense is not None and theirs.dense is not None:
            model.head.dense.load_state_dict(theirs.dense.state_dict())
    logger.info("%s: its head is kept; %d of %d labels are new", directory, len(labels) - len(kept), len(labels))
