"""Out-of-fold probabilities of the training rows, by classifiers trained on the other folds.

rows → K folds → for each: build → fit → predict the held-out fold → probabilities in the rows' order
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from jaxtyping import Float

from dhrd._files import saving, writing
from dhrd.artifact.digests import backbone_file_digests
from dhrd.config import RunConfig
from dhrd.data.digest import fingerprint
from dhrd.data.rows import Rows, check_rationales
from dhrd.data.split import fold_rows
from dhrd.evaluation.live import LiveModel
from dhrd.model.backbone import Backbone, load_backbone
from dhrd.training.build import Encoded, build, encode
from dhrd.training.identity import identity
from dhrd.training.loop import fit

logger = logging.getLogger("dhrd")


def for_folds(config: RunConfig) -> RunConfig:
    """Settings without what needs separate rows: all rows take part in the folds, the last weights are used, and the
    classifier is trained, also where the run itself trains the reasoning head alone."""
    data = config.data.model_copy(update={"validation": None, "dev_share": 0.0})
    training = config.training.model_copy(update={"selection": "last", "patience": None})
    loss = config.loss.model_copy(update={"classification_weight": config.loss.classification_weight or 1.0})
    return config.model_copy(update={"data": data, "training": training, "loss": loss})


@contextmanager
def fold_directory(kept: Path | None) -> Iterator[Path]:
    """A directory for finished folds: the given one, or a temporary one."""
    if kept is not None:
        with saving(str(kept)):
            kept.mkdir(exist_ok=True)
        yield kept
        return
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory)


def out_of_fold(
    config: RunConfig, rows: Rows, *, num_folds: int, kept: Path, device: str | None = None
) -> Float[np.ndarray, "N C"]:
    """Probabilities of all labels for each training row, from a model that did not see it.

    Every fold is trained for all epochs, as no rows are left to choose an epoch by. A fold's probabilities are saved as
    soon as they are computed, so that the same call can resume after a kill.

    Args:
        config: The settings of the run.
        rows: The rows from `load_rows`; N is the number of `rows.train`.
        num_folds: Number of folds, stratified by label and with whole groups.
        kept: Directory for finished folds.
        device: "cpu", "cuda" or "mps"; None: the best available.

    Raises:
        UserError: A setting, a row or the backbone cannot be used; a fold would be empty.
        NonFiniteError: Training diverged.
    """
    probabilities_NC = np.zeros((len(rows.train), len(rows.labels)), dtype=np.float64)
    for fold, held_out in enumerate(fold_rows(rows.train, num_folds, config.seed)):
        of_fold = rows.fold(fold, num_folds, config)
        check_rationales(config, of_fold.train)
        logger.info("%s: %d rows to train on, %d held out", of_fold.choose_name, len(of_fold.train), len(held_out))
        probabilities_NC[held_out] = _of_fold(config, of_fold, kept, device)
    return probabilities_NC


def _of_fold(config: RunConfig, rows: Rows, kept: Path, device: str | None) -> np.ndarray:
    backbone = load_backbone(config.model, seed=config.seed)
    data = encode(config, rows, backbone)
    path = kept / f"{_key(config, data)}.npy"
    if path.is_file():
        logger.info("%s: already done", rows.choose_name)
        return np.asarray(np.load(path, allow_pickle=False))
    probabilities_BC = _train(config, rows, backbone, data, device)
    content = io.BytesIO()
    np.save(content, probabilities_BC)
    with writing(path) as file:
        file.write(content.getvalue())
    return probabilities_BC


def _train(config: RunConfig, rows: Rows, backbone: Backbone, data: Encoded, device: str | None) -> np.ndarray:
    parts = build(config, rows, backbone, device, data=data)
    fit(parts.state, parts.updates)
    outcomes = LiveModel.of(parts.model, parts.accelerator).predict(data.validation.examples, rows.labels)
    assert outcomes.probabilities_BC is not None
    return outcomes.probabilities_BC


def _key(config: RunConfig, data: Encoded) -> str:
    """A key of everything that a fold's probabilities depend on."""
    parts = [identity(config), *(fingerprint(part.examples) for part in (data.train, data.validation))]
    if digests := backbone_file_digests(config.model.name_or_path):
        parts.append(digests)
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
