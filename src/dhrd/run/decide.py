"""`decide`: when an artifact answers and when it abstains, chosen on labelled rows."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dhrd._progress import track
from dhrd.artifact.write import write_decision
from dhrd.config import RunConfig
from dhrd.data.digest import digest_of
from dhrd.data.label_space import check_one_task
from dhrd.data.records import Example
from dhrd.data.rows import encode_labels
from dhrd.decisions.certify import certify
from dhrd.decisions.conformal import label_sets
from dhrd.decisions.decision import Decision
from dhrd.decisions.report import DecisionMetrics
from dhrd.decisions.target import parse_target
from dhrd.errors import ConfigError
from dhrd.evaluation.evaluate import labelled, measure_decision, rows_fingerprint
from dhrd.inference.classifier import Classifier
from dhrd.metrics.outcomes import Outcomes, groups_of
from dhrd.run.chosen import num_chosen
from dhrd.run.rows import each_row_of
from dhrd.run.trained import held_out_rows, refuse_trained_rows

logger = logging.getLogger("dhrd")


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision and what it gives on the rows that it was chosen on.

    Args:
        decision: As it is written into the artifact.
        metrics: See `decision_metrics`; `selected_on`, for these rows chose it: new ones do a little worse.
        replaced: The decision that the artifact had before; None: it had none.
    """

    decision: Decision
    metrics: DecisionMetrics
    replaced: Decision | None = field(default=None, compare=False)


def decide(
    model_dir: str | Path,
    data: Any = None,
    *,
    targets: Sequence[str] = (),
    sets: float | None = None,
    confidence: float = 0.9,
    config: RunConfig | None = None,
    **options: Any,
) -> Decided:
    """Choose the least abstention that holds targets on new rows, and write it into the artifact.

    Args:
        model_dir: What `train` wrote; its `dhrd.json` gets the decision, in place of one that was there.
        data: Labelled rows, drawn as the new ones will be: as `data.train` of a config, or rows; those with the text of
            a training row are left out. None: those that training held out.
        targets: `accuracy>=0.95`, `precision:LABEL>=0.9`, `recall:LABEL>=0.9`; several hold together.
        sets: The coverage of label sets; None: no sets.
        confidence: With which the targets hold, over draws of the rows.
        config: Column names; None: as in training.
        **options: As `predict`'s: decide as you will predict.

    Raises:
        ConfigError: There is neither a target nor a coverage, or one of them makes no sense.
        DataError: The rows cannot show it; the message says how many would. Or most of them were trained on.
        UserError: The artifact or the rows cannot be used.
    """
    _check_shares(targets, confidence=confidence, sets=sets)
    classifier = Classifier.from_pretrained(model_dir, **options)
    check_one_task(classifier.labels, "a decision")
    parsed = [parse_target(target, classifier.labels.names) for target in targets]
    examples: Iterable[Example] = (
        each_row_of(model_dir, data, config=config)
        if data is not None
        else held_out_rows(model_dir, config, instead="data")
    )
    outcomes, digests, texts = _read(classifier, examples)
    trained = refuse_trained_rows(model_dir, digests, held_out=data is None, left_out=True)
    new = [index for index, was_trained_on in enumerate(trained) if not was_trained_on]
    outcomes, digests = outcomes.rows(new), [digests[index] for index in new]
    rows, fingerprint = labelled(outcomes), rows_fingerprint(texts[index] for index in new)
    _warn(model_dir, outcomes, digests, is_choice=classifier.info.chosen_on == fingerprint)
    decision = Decision(
        rules=certify(rows, parsed, confidence) if parsed else (),
        confidence=confidence,
        sets=None if sets is None else label_sets(rows.probabilities_BC, rows.gold_BC, sets),
        num_rows=len(rows.gold_BC),
        fingerprint=fingerprint,
    )
    write_decision(Path(model_dir).expanduser(), decision, digests)
    metrics = measure_decision(decision, outcomes)
    metrics["selected_on"] = True
    return Decided(decision, metrics, replaced=classifier.info.decision)


def clear(model_dir: str | Path) -> None:
    """Take the decision of an artifact away.

    Raises:
        ArtifactError: It is no artifact.
        SaveError: It cannot be written.
    """
    write_decision(Path(model_dir).expanduser(), None)


def _check_shares(targets: Sequence[str], **shares: float | None) -> None:
    if not targets and shares["sets"] is None:
        raise ConfigError("there is nothing to decide; give a `target` such as accuracy>=0.95, or `sets`")
    for name, value in shares.items():
        if value is not None and not 0 < value < 1:
            raise ConfigError(f"`{name}={value:g}`: not between 0 and 1")


def _warn(model_dir: str | Path, outcomes: Outcomes, digests: Sequence[str], *, is_choice: bool) -> None:
    """Say what may make the bound not hold: rows that the model was chosen on, groups, and copies of rows."""
    if outcomes.group_B is not None:
        logger.warning("the rows come in groups, and the bound takes each as drawn by itself: it may not hold")
    if known := len(digests) if is_choice else num_chosen(model_dir, digests):
        told = "weights or a temperature were chosen on %d of the %d rows, so that new ones may do worse"
        logger.warning(told, known, len(digests))
    if num_copies := len(digests) - len({*digests}):
        logger.warning(
            "%d of the %d rows have the text of an earlier one, and the bound takes each as drawn by itself: it holds "
            "if they were drawn so, not if they are copies",
            num_copies,
            len(digests),
        )


def _read(classifier: Classifier, examples: Iterable[Example]) -> tuple[Outcomes, list[str], list[str]]:
    """The outcomes of rows, their digests, and their texts."""
    parts: list[Outcomes] = []
    texts: list[str] = []
    digests: list[str] = []
    for part in classifier.scored(track(examples, "deciding")):
        texts += [item.text for item in part.inputs]
        digests += map(digest_of, part.rows)
        gold_BC = encode_labels(part.rows, classifier.labels)
        ids = [example.id for example in part.rows]
        group_B = groups_of(part.rows)
        parts.append(Outcomes.of_probabilities(ids, gold_BC, part.probabilities_BC, classifier.labels, group_B))
    return Outcomes.concatenate(parts, classifier.labels), digests, texts
