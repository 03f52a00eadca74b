"""Tables for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from dhrd._terminal import say, show_table
from dhrd.data.label_names import listed

if TYPE_CHECKING:
    from dhrd.benchmark.result import BenchmarkResult, ContenderResult, DecodingResult, Spread
    from dhrd.experiments.report.schema import ArmResult, Report, TaskResult

_DECODED = ("mean_new_tokens", "max_new_tokens_reached")
_METRICS = ("accuracy", "macro_f1", "micro_f1", "weighted_f1", "f1a", "em", "log_loss", "unparsable", *_DECODED)


def metrics_table(metrics: dict[str, Any], title: str) -> None:
    """Print metrics with their intervals, then each class; of several tasks those of each."""
    if "tasks" in metrics:
        for task, own in metrics["tasks"].items():
            metrics_table(own, f"{task}: {own['num_examples']} rows")
        title += ", means over tasks"
    show_table(("metric", "value", "95 % interval"), _metric_rows(metrics), title=title, left=("metric",))
    if "per_class" in metrics:
        _classes_table(metrics)
    if absent := metrics.get("absent"):
        say(f"Neither gold nor predicted here, F1 0 in macro_f1: {listed(absent)}.")
    if metrics.get("selected_on"):
        say("The weights, or a temperature, were chosen on these very rows: expect less on new ones.")


def _classes_table(metrics: dict[str, Any]) -> None:
    show_table(
        ("label", "precision", "recall", "f1", "support"),
        (
            [name, *(f"{row[key]:.3f}" for key in ("precision", "recall", "f1")), str(row["support"])]
            for name, row in metrics["per_class"].items()
        ),
        left=("label",),
    )


def _metric_rows(metrics: dict[str, Any]) -> Iterator[list[str]]:
    for name in _METRICS:
        if name in metrics:
            low_high = metrics.get("interval_95", {}).get(name)
            shown = f"{low_high[0]:.3f} to {low_high[1]:.3f}" if low_high else ""
            yield [name + (" (official)" if name in metrics["official"] else ""), f"{metrics[name]:.3f}", shown]


def study_table(report: Report) -> None:
    """Print a study's answer, and each comparison in its task's first metric."""
    for backbone in report.backbones:
        show_table(
            ("task", "way", "metric", "mean", "95 % interval", "against", "difference", "95 % interval"),
            (row for task in backbone.tasks for arm in task.arms for row in _arm_rows(task, arm)),
            title=f"{report.title}: {backbone.name}",
            left=("task", "way", "metric", "against"),
        )
    say(report.answer or "")
    if report.undone:
        say(f"{len(report.undone)} cells are not done; the report lists them.")


def _arm_rows(task: TaskResult, arm: ArmResult) -> Iterator[list[str]]:
    """The arm's mean with its first comparison, then a row for each further baseline."""
    metric, mark = task.metrics[0], "*" if arm.selected_on else ""
    seeds = f"{len(arm.seeds)} seed{'s' if len(arm.seeds) > 1 else ''}"
    mean, interval = f"{arm.mean[metric]:.3f}{mark}", _interval(arm.interval_95.get(metric))
    row = [str(task.task), f"{arm.title}, {seeds}", metric, mean, interval]
    compared = [one for one in task.comparisons if one.other == arm.arm and one.metric == metric]
    if not compared:
        yield row
    for number, one in enumerate(compared):
        shown = [one.baseline, f"{one.difference:+.3f}", _interval(one.interval_95, signed=True)]
        yield [*([""] * len(row) if number else row), *shown]


def _interval(low_high: Any, *, signed: bool = False) -> str:
    form = "{:+.3f} to {:+.3f}" if signed else "{:.3f} to {:.3f}"
    return form.format(*low_high) if low_high else ""


def benchmark_table(result: BenchmarkResult) -> None:
    """Print a benchmark: contenders, what was computed, how far from the machine's limit, decoding."""
    rows, dtype = result.rows, result.conditions.dtype
    show_table(
        ("way", "queries/s (range)", "dhrd ×", "p50/95/99 ms", "agree", "MiB"),
        ([name, *_contender_row(one, result.dhrd_over.get(name))] for name, one in result.contenders.items()),
        title=f"{rows.num_rows} rows of {rows.mean_tokens:.0f} tokens, {dtype}",
        left=("way",),
    )
    work, roof = result.work, result.roofline
    say(
        f"Padding {work.padding_ratio:.3f}, sharing {work.sharing_ratio:.2f}: {work.num_run_tokens} positions "
        f"run for {rows.num_tokens} tokens in {work.num_passes} passes.",
        f"The forward pass does {roof.forward_flops_per_second / 1e9:.0f} GFLOP/s of needed work: "
        f"{roof.share_of_matmul_rate:.0%} of this machine's fastest {dtype} matrix product, "
        f"{roof.share_of_matmul_rate_at_own_shapes:.0%} of products of the model's own shapes.",
    )
    if result.parity is not None:
        as_run = result.parity.as_run
        say(
            f"Against fp32 with rows run whole, {result.parity.num_rows} rows: same label on "
            f"{as_run.label_agreement:.1%}, probabilities within {as_run.max_probability_difference:.2g}."
        )
    if result.decoding:
        _decoding_table(result.decoding)


def _contender_row(one: ContenderResult, over: Spread | None) -> list[str]:
    qps, late, memory = one.queries_per_second, one.latency, one.memory
    return [
        f"{qps.median:.1f} ({qps.min:.1f}–{qps.max:.1f})",
        f"{over.median:.2f}" if over else "",
        "/".join(f"{value:.0f}" for value in (late.p50_ms, late.p95_ms, late.p99_ms)),
        f"{one.label_agreement:.1%}",
        f"+{memory.peak_increase_bytes / 2**20:.0f}" if memory else "?",
    ]


def _decoding_table(decoding: Mapping[str, DecodingResult]) -> None:
    num_rows = max(one.num_rows for one in decoding.values())
    show_table(
        ("way", "queries/s", "dhrd ×", "tokens", "unread", "accuracy", "95 %"),
        ([name, *_decoding_row(one)] for name, one in decoding.items()),
        title=f"chain-of-thought decoding, {num_rows} rows",
        left=("way",),
    )


def _decoding_row(one: DecodingResult) -> list[str]:
    return [
        f"{one.queries_per_second:.3f}",
        f"{one.dhrd_over_it:.0f}",
        f"{one.mean_new_tokens:.0f}",
        f"{one.unparsable_share:.0%}",
        f"{one.accuracy:.2f}" if one.accuracy is not None else "",
        "{:.2f}–{:.2f}".format(*one.accuracy_interval_95) if one.accuracy_interval_95 else "",
    ]


def cascade_table(metrics: dict[str, Any]) -> None:
    """Print some thresholds of a cascade, and the chosen one with its own figures, since the curve may not have it."""
    curve, threshold = metrics["curve"], metrics["threshold"]
    shown = {round(index * (len(curve) - 1) / 6) for index in range(7)}
    points = {curve[index]["threshold"]: _threshold_row(curve[index], "") for index in shown}
    if threshold is not None:
        own = {**metrics, "accuracy_interval_95": metrics["interval_95"]["accuracy"]}
        points[threshold] = _threshold_row(own, " *")
    show_table(
        ("threshold", "asked", "accuracy", "95 % interval", "queries/s", "cost"),
        (points[value] for value in sorted(points)),
        title="the cascade, from the classifier alone to chain of thought alone",
    )
    if threshold is None:
        say(f"By the artifact's decision {metrics['share_asked']:.0%} of the rows are asked.")
    if metrics["chosen_on"]:
        chosen = metrics["chosen_on"]
        say(
            f"* chosen on {chosen['num_rows']} other rows, where it has accuracy {chosen['accuracy']:.3f} at "
            f"{chosen['relative_cost']:.1f} times the classifier's cost."
        )


def decision_table(metrics: dict[str, Any]) -> None:
    """Print what a decision gives on labelled rows, and some points of the risk-coverage curve."""
    decision = metrics["decision"]
    rows = [("rows answered", "coverage", decision), ("of them right", "accuracy", decision)]
    rows += [(target["target"], "share", target) for target in decision["targets"]]
    rows += [("label sets hold the right label", "coverage", decision["sets"])] if "sets" in decision else []
    show_table(
        ("the decision", "share", "95 % interval"),
        ([name, *_share_of(part, key)] for name, key, part in rows),
        left=("the decision",),
    )
    if "sets" in decision:
        say(f"A set has {decision['sets']['mean_size']:.2f} labels on average.")
    if decision.get("selected_on"):
        say("The decision was chosen on these very rows: they do not show what holds on new ones.")
    if curve := decision.get("risk_coverage"):
        shown = sorted({round(index * (len(curve) - 1) / 6) for index in range(7)})
        show_table(
            ("coverage", "wrong among them", "confidence at least"),
            ([f"{curve[index][key]:.3f}" for key in ("coverage", "risk", "threshold")] for index in shown),
            title="were only the surest rows answered",
        )


def _share_of(part: dict[str, Any], key: str) -> list[str]:
    value = part[key]
    return ["" if value is None else f"{value:.3f}", _interval(part[f"{key}_interval_95"])]


def _threshold_row(one: dict[str, Any], mark: str) -> list[str]:
    return [
        f"{one['threshold']:.3f}{mark}",
        f"{one['share_asked']:.0%}",
        f"{one['accuracy']:.3f}",
        _interval(one["accuracy_interval_95"]),
        f"{one['queries_per_second']:.2f}",
        f"{one['relative_cost']:.1f}",
    ]
