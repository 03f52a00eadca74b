"""The guarantee, by simulation: rows are drawn from populations whose true shares are known, a thousand times."""

from __future__ import annotations

import re

import numpy as np
import pytest

from dhrd.decisions.certify import Labelled, certify
from dhrd.decisions.decision import Decision, Rule
from dhrd.decisions.target import parse_target
from dhrd.errors import DataError

NAMES = ["a", "b", "c"]
NUM_DRAWS = 1000


def _population(kind: str, num_rows: int = 20_000) -> Labelled:
    """Rows whose probabilities are confidences (calibrated), or are not: too high, lowest where highest, few values."""
    rng = np.random.default_rng(5)
    logits_BC = rng.normal(0, 2.0, (num_rows, len(NAMES)))
    if kind == "several":
        p_BC = 1 / (1 + np.exp(-2 * logits_BC))
        gold_BC = (rng.random(p_BC.shape) < p_BC).astype(np.int64)
        return Labelled(probabilities_BC=p_BC, gold_BC=gold_BC, names=NAMES, multi_label=True)
    p_BC = np.exp(logits_BC) / np.exp(logits_BC).sum(1, keepdims=True)
    gold_B = (rng.random((num_rows, 1)) < p_BC.cumsum(1)).argmax(1)
    if kind == "too_sure":
        p_BC = p_BC**4 / (p_BC**4).sum(1, keepdims=True)
    if kind == "wrong_where_sure":  # the surest 3 % are guesses
        sure_B = p_BC.max(1) > np.quantile(p_BC.max(1), 0.97)
        gold_B[sure_B] = rng.integers(0, len(NAMES), sure_B.sum())
    if kind == "few_values":
        p_BC = p_BC.round(1)
    return Labelled(probabilities_BC=p_BC, gold_BC=np.eye(3, dtype=np.int64)[gold_B], names=NAMES, multi_label=False)


def _answered(rules: tuple[Rule, ...], rows: Labelled) -> np.ndarray:
    decision = Decision(rules=rules, num_rows=1, fingerprint="0")
    return decision.answered(rows.probabilities_BC, NAMES, multi_label=rows.multi_label)


def _is_missed(rules: tuple[Rule, ...], population: Labelled) -> bool:
    answered_B = _answered(rules, population)
    found = [(population.counts(rule.target, answered_B), rule.target.level) for rule in rules]
    return any(part.share < level for part, level in found if part.num_rows)


@pytest.mark.parametrize(
    ("kind", "targets", "num_rows", "confidence"),
    [
        ("calibrated", ["accuracy>=0.9"], 400, 0.9),
        ("calibrated", ["accuracy>=0.8"], 200, 0.8),
        ("too_sure", ["accuracy>=0.9"], 400, 0.9),
        ("wrong_where_sure", ["accuracy>=0.75"], 400, 0.9),
        ("few_values", ["accuracy>=0.85"], 300, 0.8),
        ("calibrated", ["precision:a>=0.85"], 500, 0.9),
        ("calibrated", ["recall:b>=0.85"], 500, 0.9),
        ("several", ["recall:c>=0.95", "precision:c>=0.9"], 500, 0.9),
        ("several", ["accuracy>=0.85"], 400, 0.8),
    ],
)
def test_targets_are_missed_in_no_more_draws_than_allowed(
    kind: str, targets: list[str], num_rows: int, confidence: float
) -> None:
    population, rng = _population(kind), np.random.default_rng(7)
    parsed = [parse_target(text, NAMES) for text in targets]
    num_missed = num_certified = 0
    for _ in range(NUM_DRAWS):
        drawn = population.part(rng.integers(0, len(population.gold_BC), num_rows))
        try:
            rules = certify(drawn, parsed, confidence)
        except DataError:
            continue
        num_certified += 1
        num_missed += _is_missed(rules, population)
    allowed = 1 - confidence
    assert num_missed / NUM_DRAWS <= allowed + 3 * np.sqrt(allowed * (1 - allowed) / NUM_DRAWS), num_missed
    assert num_certified > 0.25 * NUM_DRAWS, num_certified  # refusing always would hold every target


def test_certifying_at_the_observed_share_would_miss_in_half_of_the_draws() -> None:
    """The simulation can tell: the same choice without a bound is wrong far more often than allowed."""
    population, rng = _population("calibrated"), np.random.default_rng(7)
    target, num_missed = parse_target("accuracy>=0.9", NAMES), 0
    for _ in range(200):
        drawn = population.part(rng.integers(0, len(population.gold_BC), 400))
        score_B = drawn.scores(target)
        shares = {t: drawn.counts(target, score_B >= t).share for t in np.quantile(score_B, np.linspace(0, 0.9, 40))}
        threshold = min(t for t, share in shares.items() if share >= 0.9)
        num_missed += _is_missed((Rule(target=target, threshold=float(threshold)),), population)
    assert num_missed / 200 > 0.3


def test_abstention_is_near_the_least() -> None:
    population, target = _population("calibrated"), parse_target("accuracy>=0.9", NAMES)
    score_B = population.scores(target)
    order = np.argsort(-score_B)
    right_B = (population.probabilities_BC.argmax(1) == population.gold_BC.argmax(1))[order]
    share_B = right_B.cumsum() / np.arange(1, len(order) + 1)
    best = (np.flatnonzero(share_B >= 0.9)[-1] + 1) / len(order)
    found = _answered(certify(population, [target], 0.9), population).mean()
    assert best - 0.05 <= found <= best


def test_every_row_is_answered_where_all_may_be() -> None:
    population = _population("calibrated").part(slice(0, 2000))
    rules = certify(population, [parse_target("accuracy>=0.5", NAMES)], 0.95)
    assert [rule.threshold for rule in rules] == [0.0]


def test_a_refusal_says_how_many_rows_it_would_take() -> None:
    population, target = _population("calibrated"), parse_target("accuracy>=0.97", NAMES)
    with pytest.raises(DataError, match=r"about \d+ rows like these would") as refusal:
        certify(population.part(slice(0, 150)), [target], 0.9)
    found = re.search(r"about (\d+) rows", str(refusal.value))
    assert found is not None
    assert 150 < int(found[1]) < 20_000
    certify(population, [target], 0.9)


def test_a_target_out_of_reach_is_said_to_be_so() -> None:
    rng = np.random.default_rng(0)
    population = _population("calibrated")
    gold_BC = np.eye(3, dtype=np.int64)[rng.integers(0, 3, 5000)]
    guesses = Labelled(
        probabilities_BC=population.probabilities_BC[:5000], gold_BC=gold_BC, names=NAMES, multi_label=False
    )
    with pytest.raises(DataError, match=r"accuracy>=0\.9 with confidence 0\.9: no number of rows like the 5000 given"):
        certify(guesses, [parse_target("accuracy>=0.9", NAMES)], 0.9)


def test_a_label_that_no_row_has_is_named() -> None:
    rows = _population("calibrated").part(slice(0, 40))
    keep = rows.gold_BC[:, 1] == 0
    for target in ("recall:b>=0.9", "precision:b>=0.9"):
        with pytest.raises(DataError, match=r"none of the \d+ rows have the label 'b'; give more that have$"):
            certify(rows.part(keep & (rows.probabilities_BC.argmax(1) != 1)), [parse_target(target, NAMES)], 0.9)


def test_one_row_shows_nothing_and_few_answers_too_little() -> None:
    """Whose row may be the one that thresholds are chosen on."""
    rows = _population("calibrated").part(slice(0, 1))
    for target in ("accuracy>=0.9", "precision:a>=0.9"):
        with pytest.raises(DataError, match="one row cannot show it; give more labelled rows"):
            certify(rows, [parse_target(target, NAMES)], 0.9)
    p_BC = np.tile([0.2, 0.7, 0.1], (9, 1))
    p_BC[np.random.default_rng(0).permutation(9).argmin()] = 0.7, 0.2, 0.1  # of the part that thresholds are learned on
    gold_BC = np.eye(3, dtype=np.int64)[np.zeros(9, dtype=int)]
    rows = Labelled(probabilities_BC=p_BC, gold_BC=gold_BC, names=NAMES, multi_label=False)
    with pytest.raises(DataError, match="the model answers 'a' for 1 of the 9 rows; give more rows"):
        certify(rows, [parse_target("precision:a>=0.9", NAMES)], 0.9)


def test_a_label_that_the_model_never_answers_is_told_from_one_that_no_row_has() -> None:
    p_BC = np.tile([0.6, 0.3, 0.1], (50, 1))
    rows = Labelled(
        probabilities_BC=p_BC, gold_BC=np.eye(3, dtype=np.int64)[np.arange(50) % 2], names=NAMES, multi_label=False
    )
    told = r"25 of the 50 rows have the label 'b', but the model answers it for none of them all: train a better model"
    with pytest.raises(DataError, match=told):
        certify(rows, [parse_target("precision:b>=0.9", NAMES)], 0.9)


def test_a_refusal_counts_only_starts_that_answer_rows_of_the_target() -> None:
    """The surest rows of a label that is never given are of other labels: they say nothing of its recall."""
    p_B = np.linspace(0.05, 0.3, 60)
    gold_BC = np.eye(3, dtype=np.int64)[np.where(np.arange(60) < 40, 0, 1)]
    rows = Labelled(
        probabilities_BC=np.stack([0.9 - p_B, p_B, np.full(60, 0.1)], axis=1),
        gold_BC=gold_BC,
        names=NAMES,
        multi_label=False,
    )
    target = parse_target(f"recall:{NAMES[1]}>=0.5", NAMES)
    with pytest.raises(DataError, match=r"no number of rows like the 60 given would show it.* reach 0\.000"):
        certify(rows, [target], 0.9)


def test_rows_in_turn_are_not_each_parts_alone() -> None:
    """Ten labels in turn, all answers of one of them wrong: 0.9 is right, and no order of the rows may show 0.95."""
    p_BC = np.full((1000, 10), 0.01)
    p_BC[np.arange(1000), np.arange(1000) % 10] = 0.91
    gold_B = np.where(np.arange(1000) % 10 == 0, 1, np.arange(1000) % 10)
    names = [str(label) for label in range(10)]
    rows = Labelled(probabilities_BC=p_BC, gold_BC=np.eye(10, dtype=np.int64)[gold_B], names=names, multi_label=False)
    with pytest.raises(DataError, match=r"accuracy>=0\.95 with confidence 0\.9"):
        certify(rows, [parse_target("accuracy>=0.95", names)], 0.9)
