"""The rows of an update: new ones, replayed old ones, and those of both kinds that are held out.

new rows → held out | trained on
old rows → held out | without texts of new rows → drawn by the seed → their labels, and the old model's answers
"""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float

from dhrd._files import writing
from dhrd.artifact.info import ArtifactInfo
from dhrd.artifact.owned import artifact_fingerprint
from dhrd.config import RunConfig
from dhrd.data.digest import digest_of
from dhrd.data.label_names import as_label, listed, sort_names
from dhrd.data.label_sets import check_label_set, count_labels
from dhrd.data.records import Example, LabelSet
from dhrd.data.rows import encode_labels
from dhrd.data.source import Source
from dhrd.data.sources import open_source
from dhrd.data.split import split_dev
from dhrd.errors import ConfigError, DataError
from dhrd.run.copies import tell_copies
from dhrd.run.rows import as_source, open_rows, with_own_ids

logger = logging.getLogger("dhrd")

_DIGITS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateSettings:
    """The settings of an update.

    Args:
        model: The artifact to start from.
        new: New labelled rows, as for `data.train`.
        output: Directory for the updated artifact.
        replay: Old labelled rows, as for `data.train`; None: no replay.
        replay_share: Share of old rows among the training rows.
        kl: Weight of the old model's answer, against the label, in the target of a replayed row: L_cls is then
            (1 - kl) CE(label) + kl CE(old answer), whose gradient is that of kl KL(old answer | new answer).
        eval_new: New labelled rows to judge on; None: a held-out share of `new`.
        eval_old: Old labelled rows to judge on; None: a held-out share of `replay`.
        eval_share: The share to hold out.
        max_regression: Largest drop in accuracy on old rows; the update is not published if the whole interval of the
            drop is above it.

    Raises:
        ConfigError: A setting is invalid.
    """

    model: Path
    new: str
    output: Path
    replay: str | None = None
    replay_share: float = 0.5
    kl: float = 0.0
    eval_new: str | None = None
    eval_old: str | None = None
    eval_share: float = 0.2
    max_regression: float = 0.01

    def __post_init__(self) -> None:
        for name in ("replay_share", "eval_share"):
            if not 0 < (value := getattr(self, name)) < 1:
                raise ConfigError(f"`{name}` {value}: give a share above 0 and below 1")
        for name in ("kl", "max_regression"):
            if not 0 <= (value := getattr(self, name)) <= 1:
                raise ConfigError(f"`{name}` {value}: give a number from 0 to 1")
        if self.replay is None and self.kl:
            raise ConfigError("`kl` applies to replayed rows: give `replay`, or leave `kl` out")
        if self.replay is None and self.eval_old is None:
            raise ConfigError("there are no old rows to measure what the update forgets: give `replay` or `eval_old`")


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateRows:
    """The rows of an update.

    Args:
        train: New and replayed rows.
        eval_new: New rows that are not trained on.
        eval_old: Old rows that are not trained on.
        labels: The old model's labels, in their order, followed by new ones.
        num_new: Number of new rows in `train`.
        num_replayed: Number of old rows in `train`.
    """

    train: Source
    eval_new: list[Example]
    eval_old: list[Example]
    labels: LabelSet
    num_new: int
    num_replayed: int


def update_rows(
    settings: UpdateSettings, config: RunConfig, info: ArtifactInfo, *, kept: Path, device: str | None = None
) -> UpdateRows:
    """Read, split and sample the rows of an update.

    Args:
        settings: The settings of the update.
        config: The settings of its training: how rows are read, and the seed.
        info: The info of the artifact to start from.
        kept: Directory for the old model's answers, so that a resumed run learns from the same ones.
        device: "cpu", "cuda" or "mps"; None: the best available.

    Raises:
        DataError: A row is malformed, a label differs from a known one only in spelling, or an old row's is unknown.
    """
    source = open_source(settings.new, config.data)
    rows = source.load()
    if not config.loss.reads_rationales and any(example.rationale for example in rows):
        logger.warning("%s: rationales are ignored, as loss.reasoning_weight is 0", settings.new)
    labels = extended_labels(info.labels, rows)
    held_out = partial(_held_out, settings=settings, config=config, info=info)
    new, eval_new = held_out(rows, settings.eval_new)
    eval_new = _unlike(eval_new, new, new, kind="new", among="a row that is trained on")
    encode_labels(eval_new, labels)  # report errors in the gate's rows before training
    old = _old_rows(settings, config, info.labels)
    if settings.eval_old is None:
        old, eval_old = _held_out_old(old, new, eval_new, settings, config.seed)
    else:
        old, eval_old = held_out(old, settings.eval_old)
    eval_old = _unlike(eval_old, rows, new, kind="old", among="a new row")
    encode_labels(eval_old, labels)
    tell_copies(eval_new, "new rows of the gate")
    tell_copies(eval_old, "old rows of the gate")
    replayed = _drawn(old, rows, [*eval_new, *eval_old], settings, len(new), config.seed)
    if settings.kl and replayed:
        answers_BC = old_answers(settings.model, replayed, kept=kept, device=device)
        replayed = with_answers(replayed, answers_BC, info.labels, settings.kl)
    logger.info("training rows: %d new, %d replayed", len(new), len(replayed))
    return UpdateRows(
        train=as_source([*new, *replayed], labels, like=source),
        eval_new=eval_new,
        eval_old=eval_old,
        labels=labels,
        num_new=len(new),
        num_replayed=len(replayed),
    )


def extended_labels(old: LabelSet, examples: Sequence[Example]) -> LabelSet:
    """A model's label set, followed by labels of new rows that it does not have.

    Raises:
        DataError: Two labels differ only in case or space.
    """
    counts = count_labels(label for example in examples if (label := as_label(example.label)) is not None)
    added = [name for name in sort_names(counts) if not _knows(old, name)]
    labels = replace(old, names=(*old.names, *added), words=(*old.words, *added))
    check_label_set(labels, counts)
    if added:
        spelled = ", ".join(f"{name} ({counts[name]} rows)" for name in added)
        logger.warning("new labels: %s; they are added after %s", spelled, listed(old.names))
    return labels


def _knows(labels: LabelSet, name: str) -> bool:
    """Whether a name, or an integer used as an index, is one of the labels."""
    try:
        labels.encode((name,) if labels.multi_label else name)
    except DataError:
        return False
    return True


def _held_out(
    rows: list[Example], given: str | None, *, settings: UpdateSettings, config: RunConfig, info: ArtifactInfo
) -> tuple[list[Example], list[Example]]:
    """Rows to train on, and rows to judge on: the given ones, or a share of the former."""
    if given is not None:
        examples = open_rows(given, "validation", config, info).load()
    else:
        rows, examples = split_dev(rows, settings.eval_share, config.seed, setting="`eval_share`")
    return rows, list(with_own_ids(examples, given or "the held-out rows"))


def _held_out_old(
    old: list[Example], new: list[Example], eval_new: list[Example], settings: UpdateSettings, seed: int
) -> tuple[list[Example], list[Example]]:
    """Old rows to replay and to judge on. A group that new rows have too stays on the side that it has there."""
    judged = _groups(eval_new)
    seen = judged | _groups(new)
    by_group = [example for example in old if example.group in judged]
    free = [example for example in old if example.group not in seen]
    drawn = []
    if free and (not by_group or len(free) * settings.eval_share >= 1):
        drawn = split_dev(free, settings.eval_share, seed, setting="`eval_share`")[1]
    held_out = {id(example) for example in (*by_group, *drawn)}
    rows = [example for example in old if id(example) not in held_out]
    return rows, list(with_own_ids([example for example in old if id(example) in held_out], "the held-out rows"))


def _groups(examples: Sequence[Example]) -> set[str | None]:
    return {example.group for example in examples} - {None}


def _unlike(
    judged: list[Example], known: Sequence[Example], trained: Sequence[Example], *, kind: str, among: str
) -> list[Example]:
    """The gate's rows without those whose text is also a known row's, perhaps with another label, or whose group is
    that of a row that is trained on.

    Raises:
        DataError: No row is left.
    """
    texts, groups = {digest_of(example) for example in known}, _groups(trained)
    others = [example for example in judged if digest_of(example) not in texts]
    kept = [example for example in others if example.group not in groups]
    if not kept:
        what = "text" if judged and not others else "text or the group"
        raise DataError(
            f"every {kind} row of the gate has the {what} of {among}; give `eval_{kind}` with other texts"
            f"{' and groups' * bool(others)}"
        )
    if left_out := len(judged) - len(others):
        logger.warning("%d %s rows of the gate have the text of %s and are left out", left_out, kind, among)
    if left_out := len(others) - len(kept):
        logger.warning(
            "%d %s rows of the gate have the group of a row that is trained on and are left out", left_out, kind
        )
    return kept


def _old_rows(settings: UpdateSettings, config: RunConfig, labels: LabelSet) -> list[Example]:
    if settings.replay is None:
        logger.warning("no old rows are replayed, so the model may forget them; give them with `replay`")
        return []
    rows = open_source(settings.replay, config.data).load()
    encode_labels(rows, labels)
    if settings.eval_old is None:
        logger.warning(
            "the gate uses a part of `replay` as old rows: if the old model was trained on it, its accuracy there is "
            "too high and the gate too strict; give unseen rows with `eval_old`"
        )
    return rows


def _drawn(
    old: list[Example],
    new: Sequence[Example],
    judged: Sequence[Example],
    settings: UpdateSettings,
    num_new: int,
    seed: int,
) -> list[Example]:
    """The old rows to replay: a stratified random sample, without texts of new or held-out rows, nor the latter's
    groups."""
    texts, groups = {digest_of(example) for example in (*new, *judged)}, _groups(judged)
    others = [example for example in old if digest_of(example) not in texts]
    if left_out := len(old) - len(others):
        logger.warning("replay: %d old rows with the text of a new or a held-out row are left out", left_out)
    pool = [example for example in others if example.group not in groups]
    if left_out := len(others) - len(pool):
        logger.warning("replay: %d old rows with the group of a held-out row are left out", left_out)
    wanted = max(1, round(num_new * settings.replay_share / (1 - settings.replay_share)))
    if wanted >= len(pool):
        if old:
            logger.warning("replay: all %d old rows are used; %d were wanted", len(pool), wanted)
        return pool
    return split_dev(pool, wanted / len(pool), seed, setting="`replay_share`")[1]


def old_answers(
    model: Path, examples: Sequence[Example], *, kept: Path, device: str | None = None
) -> Float[np.ndarray, "B C"]:
    """The old model's probabilities for rows, loaded from an earlier run's file or computed now."""
    asked = [artifact_fingerprint(model), *map(digest_of, examples)]
    path = kept / f"answers-{hashlib.sha256(' '.join(asked).encode()).hexdigest()[:16]}.npy"
    if path.is_file():
        return np.asarray(np.load(path, allow_pickle=False))
    from dhrd.inference.classifier import Classifier  # loads torch

    classifier = Classifier.from_pretrained(model, device=device, dtype=None)
    answers_BC = classifier.predict_proba(examples)
    content = io.BytesIO()
    np.save(content, answers_BC)
    with writing(path) as file:
        file.write(content.getvalue())
    return answers_BC


def with_answers(
    examples: Sequence[Example], answers_BC: Float[np.ndarray, "B C"], labels: LabelSet, kl: float
) -> list[Example]:
    """Rows with soft labels: 1 - kl of the row's own label plus kl of the old model's answer."""
    own_BC = encode_labels(examples, labels).astype(float)
    for row, example in enumerate(examples):
        if (shares := labels.shares("" if example.label is None else example.label, example.where)) is not None:
            own_BC[row] = shares
    mixed_BC = ((1 - kl) * own_BC + kl * answers_BC).round(_DIGITS)
    return [
        replace(example, label=dict(zip(labels.names, map(float, mixed_C), strict=True)))
        for example, mixed_C in zip(examples, mixed_BC, strict=True)
    ]
