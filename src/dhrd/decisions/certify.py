"""The least abstention that holds targets on new rows, with a bound that holds for any number of rows.

Learn then test (Angelopoulos, Bates, Candès, Jordan and Lei, 2021): each amount of abstention is a hypothesis, "some
target is missed", which an exact binomial test may reject. A tenth of the rows, drawn by a fixed seed, gives the
thresholds that are tried, the other nine tenths test them, so that each threshold is fixed before its test. Thresholds
are tested from much abstention to none by the fallback procedure (Wiens, 2003), fixed-sequence testing with several
starts: a start has its own part of the error that is allowed, and one that is rejected hands its part on to the next.
Whatever the probabilities and the rows are, some rejected threshold misses a target in at most 1 − confidence of the
draws of the rows.

Shape legend: B rows, C classes, K thresholds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dhrd._text import shown
from dhrd.decisions.counts import Counts, met_and_about, rows_needed, tail_probability
from dhrd.decisions.decision import Rule, says, scores
from dhrd.decisions.target import Target
from dhrd.errors import DataError

_STEPS = 64
_STARTS = (4, 8, 16, 32, 64)
"""Coverage in 64ths; each has an equal part of the error."""
_LEARN_EVERY = 10


@dataclass(frozen=True, kw_only=True, eq=False)
class Labelled:
    """Labelled rows with what the classifier says of them.

    Args:
        probabilities_BC: Of the classification head.
        gold_BC: What is right, 0/1.
        names: The C labels.
        multi_label: Whether a row may have several.
    """

    probabilities_BC: np.ndarray
    gold_BC: np.ndarray
    names: Sequence[str]
    multi_label: bool

    def part(self, index: slice | np.ndarray) -> Labelled:
        """Some of the rows."""
        return Labelled(
            probabilities_BC=self.probabilities_BC[index],
            gold_BC=self.gold_BC[index],
            names=self.names,
            multi_label=self.multi_label,
        )

    def scores(self, target: Target) -> np.ndarray:
        """See `decision.scores`, (B,)."""
        return scores(target, self.probabilities_BC, self.names, multi_label=self.multi_label)

    def met_and_about(self, target: Target) -> tuple[np.ndarray, np.ndarray]:
        """See `counts.met_and_about`, were all rows answered."""
        said_BC = says(self.probabilities_BC, multi_label=self.multi_label)
        return met_and_about(target, said_BC, self.gold_BC, self.names)

    def counts(self, target: Target, answered_B: np.ndarray) -> Counts:
        """Of the rows that are answered."""
        met_B, about_B = self.met_and_about(target)
        return Counts(int((met_B & answered_B).sum()), int((about_B & answered_B).sum()))


@dataclass(frozen=True, slots=True)
class _Step:
    """One amount of abstention: its rules, its own part of the error, and the counts of the rows that test it."""

    rules: tuple[Rule, ...]
    weight: float
    counts: tuple[Counts, ...]

    def p_value(self) -> float:
        """Of "some target is missed": the largest of their p-values."""
        return max(
            tail_probability(part, rule.target.level) for part, rule in zip(self.counts, self.rules, strict=True)
        )


def certify(rows: Labelled, targets: Sequence[Target], confidence: float) -> tuple[Rule, ...]:
    """The least abstention that holds all targets on new rows together, with a given confidence.

    Args:
        rows: Labelled rows that the model was not trained on, drawn as the new ones will be.
        targets: One or more.
        confidence: Over draws of the rows, the least share in which all targets hold.

    Returns:
        A rule a target.

    Raises:
        DataError: The rows cannot show it; the message says how many would, if they are like these.
    """
    assert 0 < confidence < 1 and targets, (confidence, targets)
    learn, test = _split(rows)
    steps = _steps(learn, test, targets)
    level, best = 0.0, None
    for step in steps:
        level += step.weight * (1 - confidence)
        if step.p_value() <= level:
            best = step
        else:
            level = 0.0
    if best is None:
        raise DataError(_refusal(rows, steps, targets, confidence))
    return best.rules


def _split(rows: Labelled) -> tuple[Labelled, Labelled]:
    """A tenth of the rows to choose the thresholds that are tried, the others to test them.

    Drawn, and not every tenth: rows of several labels or sources in turn would be the one part's alone.
    """
    is_learned_B = np.random.default_rng(0).permutation(len(rows.gold_BC)) % _LEARN_EVERY == 0
    return rows.part(is_learned_B), rows.part(~is_learned_B)


def _steps(learn: Labelled, test: Labelled, targets: Sequence[Target]) -> list[_Step]:
    """From much abstention to none, each target's threshold a quantile of the scores that it bounds."""
    learned = [_finite_descending(learn.scores(target)) for target in targets]
    tested = [test.scores(target) for target in targets]
    masks = [test.met_and_about(target) for target in targets]
    steps = []
    for covered in range(_STARTS[0], _STEPS + 1):
        thresholds = [_threshold(score_K, covered) for score_K in learned]
        answered_B = np.all([score_B >= t for score_B, t in zip(tested, thresholds, strict=True)], axis=0)
        rules = tuple(Rule(target=target, threshold=t) for target, t in zip(targets, thresholds, strict=True))
        found = [Counts(*(int(np.count_nonzero(mask_B & answered_B)) for mask_B in pair)) for pair in masks]
        steps.append(_Step(rules, (covered in _STARTS) / len(_STARTS), tuple(found)))
    return steps


def _finite_descending(score_B: np.ndarray) -> np.ndarray:
    return np.sort(score_B[np.isfinite(score_B)])[::-1]


def _threshold(score_K: np.ndarray, covered: int) -> float:
    """That which lets so many 64ths of the rows be answered; 0 lets all."""
    if covered == _STEPS or not len(score_K):
        return 0.0
    return float(score_K[math.ceil(len(score_K) * covered / _STEPS) - 1])


def _refusal(rows: Labelled, steps: Sequence[_Step], targets: Sequence[Target], confidence: float) -> str:
    """What keeps rows from showing the targets, and how many like them would."""
    num_rows = len(rows.gold_BC)
    wanted = f"{' and '.join(map(str, targets))} with confidence {confidence:g}"
    if num_rows == 1:
        return f"{wanted}: one row cannot show it; give more labelled rows"
    if missing := [target for target, found in zip(targets, steps[-1].counts, strict=True) if not found.num_rows]:
        return f"{wanted}: {_nothing_about(missing[0], rows)}"
    needed = min(_times_more(step, confidence) for step in steps if step.weight) * num_rows
    if math.isfinite(needed):
        return (
            f"{wanted}: the {num_rows} rows cannot show it; about {_rounded_up(max(needed, num_rows + 1))} rows like "
            "these would, half of the time: give as many new ones (the confidence is of one try), or lower the target"
        )
    known = [
        step for step in steps if all(part.num_rows for part in step.counts)
    ]  # the last one is: nothing is missing
    best = max(known, key=lambda step: min(part.share for part in step.counts))
    reached = ", ".join(f"{part.share:.3f}" for part in best.counts)
    return (
        f"{wanted}: no number of rows like the {num_rows} given would show it, since the surest answers among them "
        f"reach {reached}: lower the target, or train a better model"
    )


def _nothing_about(target: Target, rows: Labelled) -> str:
    """Why no row tests a target; the few that there may be are among those that thresholds are chosen on."""
    num_rows, column = len(rows.gold_BC), rows.names.index(target.label)
    num_gold = int(rows.gold_BC[:, column].sum())
    if target.measure == "recall" or not num_gold:
        return f"{num_gold or 'none'} of the {num_rows} rows have the label {shown(target.label)}; give more that have"
    if num_said := int(rows.met_and_about(target)[1].sum()):
        return f"the model answers {shown(target.label)} for {num_said} of the {num_rows} rows; give more rows"
    return (
        f"{num_gold} of the {num_rows} rows have the label {shown(target.label)}, but the model answers it for none of "
        "them all: train a better model, or leave the target out"
    )


def _times_more(step: _Step, confidence: float) -> float:
    """How many times as many rows would reject this start by its own part of the error."""
    significance = step.weight * (1 - confidence)
    return max(
        rows_needed(part.share, rule.target.level, significance) / part.num_rows if part.num_rows else math.inf
        for part, rule in zip(step.counts, step.rules, strict=True)
    )


def _rounded_up(count: float) -> int:
    """To two digits: it is an estimate."""
    unit = 10 ** max(0, math.floor(math.log10(count)) - 1)
    return math.ceil(count / unit) * unit
