"""Comparisons against scipy and statsmodels, against resampling row by row, and in coverage."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar

from dhrd.data.records import LabelSet
from dhrd.data.superglue import TASKS
from dhrd.errors import ConfigError, DataError
from dhrd.metrics import intervals
from dhrd.metrics.compare import average_over_seeds, compare, holm, mcnemar, primary
from dhrd.metrics.intervals import wilson
from dhrd.metrics.outcomes import Outcomes
from dhrd.metrics.paired import Pair

ABC = LabelSet(("a", "b", "c"))
NO_YES = LabelSet(("false", "true"))
MULTIRC = TASKS["multirc"]
KEYS = {
    *(
        "metric",
        "num_rows",
        "num_groups",
        "num_seeds",
        "difference",
        "interval_95",
        "interval_method",
        "rows_interval_95",
    ),
    *("p_value", "seed_differences", "mcnemar", "smallest_told", "verdict"),
}


def _outcomes(gold: Any, predicted: Any, labels: LabelSet = ABC, ids: list[str] | None = None) -> Outcomes:
    eye = np.eye(len(labels), dtype=np.int64)
    ids = ids or [f"r{i}" for i in range(len(gold))]
    return Outcomes(ids=ids, gold_BC=eye[gold], predicted_BC=eye[predicted], labels=labels)


def _pairs(
    num_rows: int,
    num_seeds: int,
    *,
    means: tuple[float, float] = (0.7, 0.8),
    seed_sd: float = 0.0,
    rng: np.random.Generator | None = None,
    labels: LabelSet = ABC,
    ids: list[str] | None = None,
) -> list[Pair]:
    """Rows that are easy or hard for both models, for one of them, and at one seed; seeds that are good or bad."""
    rng = rng or np.random.default_rng(0)
    gold = rng.integers(0, len(labels), num_rows)
    ease = rng.normal(0, 1, (num_rows, 1)) + rng.normal(0, 0.3, (num_rows, 2)) + np.array(means)
    pairs = []
    for _ in range(num_seeds):
        right = ease + rng.normal(0, 0.5, (num_rows, 2)) + rng.normal(0, seed_sd, 2) > 0
        wrong = (gold + rng.integers(1, len(labels), num_rows)) % len(labels)
        both = [_outcomes(gold, np.where(right[:, model], gold, wrong), labels, ids) for model in (0, 1)]
        pairs.append((both[0], both[1]))
    return pairs


def _truth(means: tuple[float, float], seed_sd: float) -> float:
    """The difference of the two models' accuracies over all rows and seeds."""
    chances = stats.norm.cdf(np.array(means) / np.sqrt(1 + 0.3**2 + 0.5**2 + seed_sd**2))
    return float(chances[1] - chances[0])


def _hits(pairs: list[Pair]) -> np.ndarray:
    """(seeds, 2, rows)."""
    return np.array([[one.hits_B for one in both] for both in pairs], dtype=float)


def _f1(one: Outcomes, rows: np.ndarray) -> np.ndarray:
    """Of each class, in these rows; none of the test's resamples lacks a class."""
    gold, predicted = one.gold_BC[rows], one.predicted_BC[rows]
    return 2 * (gold * predicted).sum(axis=0) / (gold + predicted).sum(axis=0)


def _by_hand(
    pairs: list[Pair], metric: Callable[[Outcomes, np.ndarray], float], draw: Callable[[], np.ndarray], num: int
) -> np.ndarray:
    """The mean difference in resamples drawn row by row."""
    values = []
    for _ in range(num):
        rows = draw()
        values.append(np.mean([metric(other, rows) - metric(baseline, rows) for baseline, other in pairs]))
    return np.quantile(values, [0.025, 0.975])


def test_one_seed_is_scipys_paired_bootstrap() -> None:
    pairs = _pairs(150, 1)
    found = compare(pairs, metric="accuracy")
    ours, theirs = _hits(pairs)[0]
    expected = stats.bootstrap(
        (ours, theirs), lambda a, b, axis: (b - a).mean(axis=axis), paired=True, method="percentile", random_state=1
    ).confidence_interval
    assert set(found) == KEYS
    assert found["difference"] == pytest.approx((theirs - ours).mean())
    assert expected.high - expected.low > 0.1
    assert found["interval_95"] == pytest.approx([expected.low, expected.high], abs=0.008)
    assert found["rows_interval_95"] == found["interval_95"]
    assert found["smallest_told"] == pytest.approx((found["interval_95"][1] - found["interval_95"][0]) / 2)
    # Resamples without a difference count on both sides: half a row is none
    z = (abs((theirs - ours).mean()) - 0.5 / 150) / ((theirs - ours).std() / np.sqrt(150))
    assert found["p_value"] == pytest.approx(2 * stats.norm.sf(z), abs=0.03)
    assert "one seed" in found["interval_method"]
    assert json.loads(json.dumps(found)) == found


def test_macro_f1_is_resampled_within_gold_classes() -> None:
    pairs = _pairs(60, 1, rng=np.random.default_rng(5))
    gold = pairs[0][0].gold_BC.argmax(axis=1)
    rng = np.random.default_rng(1)

    def metric(one: Outcomes, rows: np.ndarray) -> float:
        return float(_f1(one, rows).mean())

    def draw() -> np.ndarray:
        return np.concatenate([rng.choice(np.flatnonzero(gold == c), size=(gold == c).sum()) for c in range(3)])

    found = compare(pairs, metric="macro_f1")
    assert found["difference"] == pytest.approx(metric(pairs[0][1], np.arange(60)) - metric(pairs[0][0], np.arange(60)))
    assert found["interval_95"] == pytest.approx(_by_hand(pairs, metric, draw, 1500).tolist(), abs=0.02)


@pytest.mark.parametrize("name", ["f1a", "em", "accuracy", "macro_f1"])
def test_multirc_is_resampled_by_paragraph(name: str) -> None:
    ids = [f"multirc-val-{p}-{q}-{a}" for p in range(25) for q in range(2) for a in range(2 + p % 2)]
    pairs = _pairs(len(ids), 2, labels=NO_YES, ids=ids, rng=np.random.default_rng(6))
    paragraph = np.array([int(one.split("-")[2]) for one in ids])
    question = np.array([one.rsplit("-", 1)[0] for one in ids])
    rng = np.random.default_rng(1)

    def metric(one: Outcomes, rows: np.ndarray) -> float:
        if name == "accuracy":
            return float(one.hits_B[rows].mean())
        if name == "em":  # a paragraph that is drawn twice has its questions twice
            first = {q: i for i, q in reversed(list(enumerate(question)))}
            exact = {q: bool(one.hits_B[question == q].all()) for q in first}
            return float(np.mean([exact[question[row]] for row in rows if first[question[row]] == row]))
        return float(_f1(one, rows)[1] if name == "f1a" else _f1(one, rows).mean())

    def draw() -> np.ndarray:
        return np.concatenate([np.flatnonzero(paragraph == p) for p in rng.integers(0, 25, 25)])

    found = compare(pairs, metric=name, task=MULTIRC)
    expected = _by_hand(pairs, metric, draw, 500)
    assert expected[1] - expected[0] > 0.08
    assert found["rows_interval_95"] == pytest.approx(expected.tolist(), abs=0.025)


@pytest.mark.parametrize("num_seeds", [2, 3, 4])
def test_a_few_seeds_are_the_paired_t_test(num_seeds: int) -> None:
    pairs = _pairs(200, num_seeds, seed_sd=0.1)
    found = compare(pairs, metric="accuracy")
    ours, theirs = _hits(pairs).mean(axis=2).T
    expected = stats.ttest_rel(theirs, ours)
    assert found["p_value"] == pytest.approx(expected.pvalue)
    assert found["interval_95"] == pytest.approx(list(expected.confidence_interval(0.95)))
    assert found["seed_differences"] == pytest.approx((theirs - ours).tolist())
    assert found["difference"] == pytest.approx((theirs - ours).mean())
    assert found["interval_method"].startswith(f"t interval over the differences of {num_seeds} seeds")
    each = _hits(pairs)
    rows = stats.bootstrap(
        ((each[:, 1] - each[:, 0]).mean(axis=0),), np.mean, method="percentile", random_state=1
    ).confidence_interval
    assert found["rows_interval_95"] == pytest.approx([rows.low, rows.high], abs=0.006)


def test_equal_seeds_fall_back_to_the_rows() -> None:
    pairs = _pairs(80, 1) * 3
    found = compare(pairs, metric="accuracy")
    assert found["interval_95"] == found["rows_interval_95"] == compare(pairs[:1], metric="accuracy")["interval_95"]
    assert "all 3 seeds have the same difference, so a t interval cannot be given" in found["interval_method"]
    assert found["p_value"] == compare(pairs[:1], metric="accuracy")["p_value"]


def test_five_seeds_are_resampled_with_the_rows() -> None:
    pairs = _pairs(300, 5, seed_sd=0.3)
    found = compare(pairs, metric="accuracy")
    assert set(found) == KEYS
    assert "rows and seeds together" in found["interval_method"]
    width, by_rows = (float(np.diff(found[name])[0]) for name in ("interval_95", "rows_interval_95"))
    assert width > 1.5 * by_rows
    assert found == compare(pairs, metric="accuracy")
    assert found["interval_95"] != compare(pairs, metric="accuracy", seed=1)["interval_95"]


@pytest.mark.parametrize("num_seeds", [1, 5])
def test_the_p_value_is_below_5_percent_where_the_interval_is_on_one_side(num_seeds: int) -> None:
    rng = np.random.default_rng(2)
    told = 0
    for trial in range(60):
        pairs = _pairs(100, num_seeds, means=(0.6, 0.6 + 0.01 * trial), rng=rng)
        found = compare(pairs, metric="accuracy", num_resamples=999)
        low, high = found["interval_95"]
        if abs(found["p_value"] - 0.05) > 0.005:
            assert (found["p_value"] < 0.05) == (low > 0 or high < 0)
        told += low > 0
    assert 10 < told < 50


@pytest.mark.parametrize(("only_baseline", "only_other"), [(0, 0), (0, 1), (5, 3), (2, 14), (40, 40)])
def test_mcnemar_is_statsmodels(only_baseline: int, only_other: int) -> None:
    gold = np.zeros(100, dtype=np.int64)
    ours, theirs = gold.copy(), gold.copy()
    theirs[:only_baseline] = 1
    ours[50 : 50 + only_other] = 1
    ours[99] = theirs[99] = 2
    found = mcnemar(_outcomes(gold, ours), _outcomes(gold, theirs))
    table = [[99 - only_baseline - only_other, only_baseline], [only_other, 1]]
    assert found == {
        "only_baseline": only_baseline,
        "only_other": only_other,
        "p_value": pytest.approx(statsmodels_mcnemar(table, exact=True).pvalue),
    }


def test_mcnemar_is_given_for_each_seed() -> None:
    pairs = _pairs(90, 5)
    assert compare(pairs, metric="macro_f1", num_resamples=100)["mcnemar"] == [mcnemar(*both) for both in pairs]


def test_the_order_of_rows_does_not_matter() -> None:
    pairs = _pairs(70, 5)
    rng = np.random.default_rng(0)
    shuffled = [tuple(one.rows(rng.permutation(70)) for one in both) for both in pairs]
    shuffled[0] = (pairs[0][0], shuffled[0][1])
    found = compare(shuffled, metric="macro_f1", num_resamples=500)  # type: ignore[arg-type]
    assert found == compare(pairs, metric="macro_f1", num_resamples=500)


def test_resampling_in_pieces_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = _pairs(50, 2)
    whole = compare(pairs, metric="accuracy", num_resamples=1001)
    monkeypatch.setattr(intervals, "_CELLS_AT_ONCE", 500)
    assert compare(pairs, metric="accuracy", num_resamples=1001) == whole


def test_verdicts() -> None:
    gold = np.zeros(100, dtype=np.int64)

    def said(num_wrong: int, start: int = 0) -> Outcomes:
        predicted = gold.copy()
        predicted[start : start + num_wrong] = 1
        return _outcomes(gold, predicted)

    def verdict(*pairs: Pair) -> str:
        return compare(pairs, metric="accuracy", names=("the pooled baseline", "DHRD"))["verdict"]

    # 20 rows that DHRD alone has right: binomial(100, 0.2) / 100
    better = verdict((said(20), said(0)))
    assert better == "DHRD is better than the pooled baseline by 20.0 points (95 % interval 12.0 to 28.0), at one seed"
    worse = verdict((said(0), said(20)))
    assert worse == "DHRD is worse than the pooled baseline by 20.0 points (95 % interval 12.0 to 28.0), at one seed"
    assert (
        verdict((said(5), said(5, 50)))
        == "no difference can be told at n = 100; an observed one of about 6 points would be"
    )
    alike = "no difference can be told at n = 100: the two score alike whichever rows are drawn"
    assert verdict((said(9), said(9))) == alike
    few = verdict((said(20), said(0)), (said(22), said(1)), (said(20), said(1)))
    assert few == (
        "DHRD is better than the pooled baseline by 20.0 points (95 % interval 17.5 to 22.5), on these rows over "
        "3 seeds"
    )
    none = verdict((said(20), said(0)), (said(2), said(1)))
    assert none == "no difference can be told at n = 100 with 2 seeds; an observed one of about 121 points would be"
    many = verdict(*[(said(20 + i % 2), said(0)) for i in range(6)])
    assert many.startswith("DHRD is better than the pooled baseline by 20.5 points (95 % interval 1")
    assert many.endswith(")")


def test_where_nothing_varies_there_is_no_interval() -> None:
    gold = np.zeros(4, dtype=np.int64)
    alike = compare([(_outcomes(gold, gold), _outcomes(gold, gold))], metric="accuracy")
    assert (alike["difference"], alike["interval_95"], alike["smallest_told"], alike["p_value"]) == (0, None, None, 1)
    opposed = compare([(_outcomes(gold, gold + 1), _outcomes(gold, gold))], metric="accuracy")
    assert (opposed["difference"], opposed["interval_95"], opposed["p_value"]) == (1, None, None)
    assert opposed["verdict"] == (
        "the difference is 100.0 points at n = 4, but it is the same whichever rows are drawn, so no interval can be "
        "given"
    )
    assert opposed["mcnemar"][0]["p_value"] == 2 / 2**4


def test_primary_of_one_task_is_its_comparison() -> None:
    for num_seeds in (1, 3, 5):
        pairs = _pairs(60, num_seeds, seed_sd=0.1)
        one = compare(pairs, metric="macro_f1")
        found = primary({"t": (pairs, "macro_f1", None)})
        assert set(found) == KEYS - {"num_groups"} | {"num_tasks"}
        for name in KEYS - {"metric", "num_groups", "mcnemar", "verdict"}:
            assert found[name] == one[name], name
    assert (found["metric"], found["num_tasks"], found["mcnemar"]) == ("mean of macro_f1 (t)", 1, [])


def test_primary_is_the_mean_over_tasks() -> None:
    tasks = {
        name: (_pairs(num_rows, 3, seed_sd=0.1, rng=np.random.default_rng(num_rows)), metric, None)
        for name, num_rows, metric in (("s", 40, "accuracy"), ("m", 90, "macro_f1"), ("l", 200, "accuracy"))
    }
    alone = [compare(pairs, metric=metric) for pairs, metric, _ in tasks.values()]
    found = primary(tasks)
    means = np.mean([one["seed_differences"] for one in alone], axis=0)
    expected = stats.ttest_1samp(means, 0.0)
    assert found["difference"] == pytest.approx(means.mean())
    assert found["seed_differences"] == pytest.approx(means.tolist())
    assert found["interval_95"] == pytest.approx(list(expected.confidence_interval(0.95)))
    assert found["p_value"] == pytest.approx(expected.pvalue)
    assert (found["num_rows"], found["num_tasks"], found["num_seeds"]) == (330, 3, 3)
    halves = [np.diff(one["rows_interval_95"])[0] / 2 for one in alone]  # tasks are resampled independently
    assert np.diff(found["rows_interval_95"])[0] / 2 == pytest.approx(np.sqrt(np.sum(np.square(halves))) / 3, rel=0.08)
    assert "n = 330 rows of 3 tasks" in found["verdict"] or "points" in found["verdict"]


def test_primary_takes_differing_numbers_of_seeds_from_five_on() -> None:
    tasks = {str(number): (_pairs(50, number), "accuracy", None) for number in (5, 7)}
    found = primary(tasks, num_resamples=500)
    assert (found["num_seeds"], found["seed_differences"]) == (5, None)
    assert found["difference"] == pytest.approx(
        np.mean([compare(pairs, metric="accuracy", num_resamples=9)["difference"] for pairs, _, _ in tasks.values()])
    )
    tasks["few"] = (_pairs(50, 3), "accuracy", None)
    with pytest.raises(DataError, match=r"differ in their numbers of seeds \(5 5, 7 7, few 3\); run the same for all"):
        primary(tasks)
    with pytest.raises(DataError, match="there are no tasks to compare"):
        primary({})


def test_seeds_over_other_rows_are_refused() -> None:
    pairs = _pairs(20, 2)
    other = tuple(one.rows(range(19)) for one in pairs[1])
    with pytest.raises(
        DataError, match=r"cb: the rows differ: 1 only in cb: the baseline \(pair 1\)|1 only in cb: the"
    ):
        primary({"cb": ([pairs[0], other], "accuracy", None)})  # type: ignore[list-item]
    with pytest.raises(DataError, match=r"1 only in the baseline \(pair 1\) \('r19' …\); evaluate both on the same"):
        compare([(pairs[0][0], other[1])], metric="accuracy")
    swapped = _outcomes((pairs[1][0].gold_BC.argmax(axis=1) + 1) % 3, np.zeros(20, dtype=np.int64))
    with pytest.raises(
        DataError, match=r"row 'r0': gold is . in the baseline \(pair 1\) and . in the other \(pair 2\)"
    ):
        compare([pairs[0], (pairs[1][0], swapped)], metric="accuracy")
    with pytest.raises(DataError, match="there is nothing to compare"):
        compare([], metric="accuracy")
    with pytest.raises(ConfigError, match="metric: 'log_loss' cannot be compared"):
        compare(pairs, metric="log_loss")


def test_holm_by_hand() -> None:
    found = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": None})
    assert found == {"a": pytest.approx(0.03), "b": pytest.approx(0.06), "c": pytest.approx(0.06), "d": None}
    assert list(found) == ["a", "b", "c", "d"]
    assert holm({}) == {}


@pytest.mark.parametrize("seed_sd", [0.0, 0.3])
def test_the_primary_interval_covers_the_truth_as_often_as_it_says(seed_sd: float) -> None:
    means, sizes = (0.7, 0.8), (60, 120)
    truth, rng = _truth(means, seed_sd), np.random.default_rng(8)
    num_trials, num_covered, num_by_rows = 300, 0, 0
    for trial in range(num_trials):
        tasks = {
            str(size): (_pairs(size, 5, means=means, seed_sd=seed_sd, rng=rng), "accuracy", None) for size in sizes
        }
        found = primary(tasks, num_resamples=400, seed=trial)
        num_covered += found["interval_95"][0] <= truth <= found["interval_95"][1]
        num_by_rows += found["rows_interval_95"][0] <= truth <= found["rows_interval_95"][1]
    # Three standard errors of a share over 300 trials are 0.038
    assert 0.91 < num_covered / num_trials < 0.985
    assert (num_by_rows / num_trials < 0.85) == (seed_sd > 0)  # what seeds do is seen only where they are resampled


def test_one_models_accuracy_at_one_seed_has_wilsons_interval() -> None:
    (ours, _) = _pairs(80, 1)[0]
    found = average_over_seeds([ours], metric="accuracy")
    assert found["mean"] == pytest.approx(ours.hits_B.mean())
    assert found["interval_95"] == pytest.approx(list(wilson(int(ours.hits_B.sum()), 80)))
    assert "Wilson" in found["interval_method"]


def test_one_models_mean_over_seeds_is_scipys_bootstrap_over_rows() -> None:
    ours = [baseline for baseline, _ in _pairs(120, 3)]
    found = average_over_seeds(ours, metric="accuracy", num_resamples=20_000)
    mean_B = np.mean([one.hits_B for one in ours], axis=0)
    reference = stats.bootstrap(
        (mean_B,), np.mean, n_resamples=20_000, method="percentile", random_state=0
    ).confidence_interval
    assert found["mean"] == pytest.approx(mean_B.mean())
    assert found["interval_95"] == pytest.approx([reference.low, reference.high], abs=0.01)


def test_a_model_that_is_always_right_has_no_bootstrap_interval() -> None:
    gold = np.arange(30) % 3
    found = average_over_seeds([_outcomes(gold, gold)] * 2, metric="macro_f1")
    assert found["mean"] == 1
    assert found["interval_95"] is None


def test_rows_of_one_group_count_as_one() -> None:
    """Twenty copies of a row in one group tell what the row told."""
    gold, ours, theirs = np.random.default_rng(0).integers(0, 3, (3, 60))
    copies = np.repeat(np.arange(60), 20)
    groups = [f"text {row}" for row in copies]
    alone = compare([(_outcomes(gold, ours), _outcomes(gold, theirs))], metric="accuracy")
    grouped, ungrouped = (
        compare(
            [
                (
                    replace(_outcomes(gold[copies], ours[copies]), group_B=group_B),
                    replace(_outcomes(gold[copies], theirs[copies]), group_B=group_B),
                )
            ],
            metric="accuracy",
        )
        for group_B in (groups, None)
    )
    assert grouped["interval_95"] == pytest.approx(alone["interval_95"])
    assert (grouped["num_groups"], ungrouped["num_groups"], alone["num_groups"]) == (60, None, None)
    assert "over whole groups of rows" in grouped["interval_method"]
    assert ungrouped["smallest_told"] < alone["smallest_told"] / 3


def test_groups_that_one_file_alone_tells_hold_for_both() -> None:
    gold, ours, theirs = np.random.default_rng(0).integers(0, 3, (3, 200))
    groups = [f"text {row // 10}" for row in range(200)]
    told, untold = (replace(_outcomes(gold, ours), group_B=group_B) for group_B in (groups, None))
    other = replace(_outcomes(gold, theirs), group_B=groups)
    assert compare([(untold, other)], metric="accuracy") == compare([(told, other)], metric="accuracy")


def test_one_models_interval_is_over_its_groups() -> None:
    gold, ours = np.random.default_rng(1).integers(0, 3, (2, 200))
    groups = [f"text {row // 10}" for row in range(200)]
    found = average_over_seeds([replace(_outcomes(gold, ours), group_B=groups)], metric="accuracy")
    assert found["interval_method"] == "percentiles of a bootstrap over whole groups of rows"
