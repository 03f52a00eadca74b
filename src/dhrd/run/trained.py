"""What training did with its run's own rows: which it held out for choices, and which the model was trained on."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from dhrd.artifact.info import MANIFEST, read_info
from dhrd.artifact.known_rows import TRAINED, read_digests
from dhrd.config import RunConfig
from dhrd.config.published import masked
from dhrd.data.digest import digest_of, rows_digest
from dhrd.data.records import Example
from dhrd.data.rows import load_rows
from dhrd.data.sources import is_elsewhere
from dhrd.errors import ConfigError, DataError, UserError
from dhrd.run.rows import refuse_streams, settings_of
from dhrd.training.run_dir import read_run

logger = logging.getLogger("dhrd")

_MOST_TRAINED = 0.5  # largest share of rows that may have the text of a training row

_LOADED = ("train", "validation", "rationales")
"""The settings of what `load_rows` reads."""


def held_out_rows(
    model_dir: str | Path, config: RunConfig | None = None, *, instead: str = "dev_data"
) -> list[Example]:
    """The rows that training held out for choices.

    Args:
        model_dir: An artifact, written by `train`.
        config: Settings that say where the rows are; None: those of the training run.
        instead: The argument that gives other rows, for messages.

    Raises:
        ConfigError: Training held out no rows.
        DataError: The rows are no longer those that it held out.
        UserError: The rows cannot be read any more.
    """
    config = config or settings_of(model_dir)
    if not config.data.dev_share:
        raise ConfigError(
            "a threshold must be chosen on rows that the model was not trained on, but the run held out none: "
            f"give `{instead}=SPEC`, or train with data.dev_share"
        )
    refuse_streams(config.data, *_LOADED, mend=f"; give `{instead}=SPEC`")
    held_out = load_rows(config).choose
    recorded = _recorded(model_dir, "held_out")
    if not recorded:
        logger.warning("an earlier version wrote this artifact, and may have held out others than these rows")
    elif recorded != rows_digest(held_out):
        raise DataError(
            f"the rows that training held out have changed, or are not of data.train ({config.data.train}) alone, so "
            f"some of those held out now may have been trained on: give `{instead}=SPEC`"
        )
    return held_out


def _recorded(model_dir: str | Path, name: Literal["train", "held_out"]) -> str | None:
    """The digest of a run's own rows as its training read them; None where an older artifact does not say."""
    return (read_info(model_dir).training.get("rows") or {}).get(name)


def num_trained(model_dir: str | Path, digests: Iterable[str]) -> int:
    """Count the rows that have the text of a training row; 0 with a warning if that is unknown.

    Args:
        model_dir: An artifact, written by `train`.
        digests: The rows' digests (`data/digest.py`).
    """
    trained = _trained_digests(model_dir, logging.WARNING)
    return sum(digest in trained for digest in digests)


def backbone_digests(name_or_path: str) -> set[str]:
    """The digests of the rows that a backbone was trained on, if it is an artifact; with a warning if unknown."""
    directory = Path(name_or_path).expanduser()
    try:
        return _digests(directory) if os.path.isfile(directory / MANIFEST) else set()
    except UserError as error:
        logger.warning("%s: the new artifact cannot tell which rows this one was trained on: %s", directory, error)
        return set()


def _trained_digests(model_dir: str | Path, level: int) -> set[str]:
    """The digests of an artifact's training rows; none, and a message of the level, if they are unknown."""
    try:
        return _digests(Path(model_dir).expanduser())
    except UserError as error:
        logger.log(level, "cannot check whether the model was trained on these rows: %s", error)
        return set()


def _digests(directory: Path) -> set[str]:
    """The digests of an artifact's training rows, read again from this machine's files if it does not have them.

    Raises:
        UserError: They cannot be read any more, or are elsewhere.
    """
    if (known := read_digests(directory / TRAINED)) is not None:
        return known
    config = read_run(directory)
    if config is None or config.data.train is None:
        return set()
    refuse_streams(config.data, *_LOADED)
    for name in _LOADED:  # the artifact's maker chose them, and whoever names other rows has not asked for these
        spec = getattr(config.data, name)
        if spec is not None and is_elsewhere(spec, config.data):
            raise DataError(f"data.{name} ({masked(spec)}) is not on this machine, and is not fetched for this alone")
    with _muted():  # what there is to say of these rows was said when the model was trained
        trained = load_rows(config).train
    if _recorded(directory, "train") not in (None, rows_digest(trained)):
        raise DataError(f"data.train ({config.data.train}) gives other rows now than in training")
    return {digest_of(example) for example in trained}


@contextmanager
def _muted() -> Iterator[None]:
    was, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = was


def refuse_trained_rows(
    model_dir: str | Path,
    digests: Sequence[str],
    *,
    held_out: bool = False,
    left_out: bool = False,
    instead: str = "give rows that training did not see",
) -> list[bool]:
    """Refuse rows that the model was trained on, since they say nothing about new rows.

    If only some rows have the text of a training row, which may be natural repetition, a warning is logged.

    Args:
        model_dir: An artifact, written by `train`.
        digests: The rows' digests.
        held_out: They are `held_out_rows`, which training compared with its others: what counts is whether a model that
            the run began with was trained on them.
        left_out: Whether the caller leaves those few out, for the message.
        instead: What to do instead, for the message.

    Returns:
        Whether each row has the text of a training row.

    Raises:
        DataError: The model was trained on most of the rows.
    """
    config = read_run(Path(model_dir).expanduser()) if held_out else None
    trained = backbone_digests(config.model.name_or_path) if config else _trained_digests(model_dir, logging.WARNING)
    are_known = [digest in trained for digest in digests]
    known = sum(are_known)
    then = "they show nothing of new ones and are left out" if left_out else "new ones may do worse"
    _refuse_most(
        are_known,
        f"the model was trained on {known} of the {len(digests)} rows, so they say little about new ones; {instead}",
        f"{known} of {len(digests)} rows have the text of a training row; {then}",
    )
    return are_known


def _refuse_most(are_known: Sequence[bool], refusal: str, warning: str) -> None:
    """Refuse rows most of which are known; warn of fewer, which may be natural repetition."""
    if sum(are_known) > _MOST_TRAINED * len(are_known):
        raise DataError(refusal)
    if any(are_known):
        logger.warning(warning)


def refuse_rows_of_backbone(config: RunConfig, examples: Sequence[Example]) -> None:
    """Refuse to train on folds from an artifact that knows the rows already: no fold would be without its own.

    Raises:
        DataError: The backbone was trained on most of the rows; on few, a warning is logged.
    """
    trained = backbone_digests(config.model.name_or_path)
    are_known = [digest_of(example) in trained for example in examples]
    told = (
        f"{config.model.name_or_path}, which each fold starts from, was trained on {sum(are_known)} of the "
        f"{len(examples)} rows"
    )
    refusal = f"{told}, so none is held out: start from the backbone that it was trained from"
    _refuse_most(are_known, refusal, f"{told}: their labels are not unknown to it")


def telling_trained(model_dir: str | Path, examples: Iterable[Example]) -> Iterator[Example]:
    """Pass rows on, and after the last one warn if the model was trained on rows with their text.

    Args:
        model_dir: An artifact, written by `train`.
        examples: The rows.
    """
    trained = _trained_digests(model_dir, logging.INFO)
    num_rows = num_known = 0
    for example in examples:
        num_rows += 1
        num_known += bool(trained) and digest_of(example) in trained
        yield example
    if num_known:
        logger.warning(
            "%d of %d rows have the text of a training row, so the metrics are too optimistic", num_known, num_rows
        )
