"""Contenders take turns, round by round, so that a drift of the machine hits all alike.

Ratios are taken within a round; the result shows their median with extremes.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from dhrd.benchmark.contenders import BenchmarkRows, Contender
from dhrd.benchmark.measure import latency, peak_memory, spread, timed
from dhrd.benchmark.result import BatchSizePoint, ContenderResult, Rounds, WorkResult
from dhrd.inference.classifier import Classifier
from dhrd.inference.engine.options import Work

_MEMORY_ROWS = 256
_LEAST_SHARING = 1.05  # below it there is nothing to compare: the same is run with and without sharing


@dataclass(slots=True)
class _Tally:
    """What was seen so far: queries per second by contender and round, the labels each gave first, our work."""

    rates: dict[str, list[float]] = field(default_factory=dict)
    labels: dict[str, list[str]] = field(default_factory=dict)
    work: Work = field(default_factory=Work)


def take_turns(
    contenders: Sequence[Contender],
    rows: BenchmarkRows,
    classifier: Classifier,
    *,
    repeats: int,
    latency_rows: int,
    say: Callable[[str], None] = lambda text: None,
) -> tuple[Rounds, list[BatchSizePoint]]:
    """Time all contenders in turn; after the first round the pipeline runs only at batch sizes 1, 32 and its best.

    Args:
        contenders: Warmed-up contenders, including `dhrd`.
        rows: Rows that each contender runs in each round.
        classifier: The classifier that `dhrd` runs.
        repeats: Number of rounds.
        latency_rows: Number of single requests after the rounds.
        say: Called with progress messages.

    Returns:
        The measurements, and the pipeline's sweep of batch sizes.
    """
    tally, going = _Tally(), list(contenders)
    sweep = [peer for peer in contenders if peer.name.startswith("pipeline_") and peer.name != "pipeline_default"]
    best: Contender | None = None
    for number in range(repeats):
        for contender in going:
            say(f"round {number + 1} of {repeats}: {contender.title}")
            _take_turn(contender, rows, classifier, tally)
        if number == 0:
            best = max(sweep, key=lambda peer: tally.rates[peer.name][0], default=None)
            going = [peer for peer in contenders if _goes_on(peer, sweep, best, tally.work)]
    say("latency, memory")
    rounds = Rounds(
        contenders={peer.name: _measured(peer, tally, rows, latency_rows, classifier) for peer in going},
        dhrd_over={
            peer.name: spread(a / b for a, b in zip(tally.rates["dhrd"], tally.rates[peer.name], strict=True))
            for peer in going
            if peer.name != "dhrd"
        },
        pipeline_best_batch_size=best.batch_size if best else None,
        work=WorkResult.model_validate(tally.work, from_attributes=True),
    )
    return rounds, [
        BatchSizePoint(batch_size=peer.batch_size or 1, queries_per_second=tally.rates[peer.name][0]) for peer in sweep
    ]


def _take_turn(contender: Contender, rows: BenchmarkRows, classifier: Classifier, tally: _Tally) -> None:
    before = copy.copy(classifier.engine.work)
    taken_s, labels = timed(contender.run, rows)
    tally.rates.setdefault(contender.name, []).append(len(rows) / taken_s)
    tally.labels.setdefault(contender.name, labels)
    if contender.name == "dhrd":
        tally.work = classifier.engine.work - before


def _goes_on(contender: Contender, sweep: Sequence[Contender], best: Contender | None, work: Work) -> bool:
    if contender.name == "dhrd_without_sharing":
        return work.sharing_ratio >= _LEAST_SHARING
    return contender not in sweep or contender is best or contender.name in ("pipeline_1", "pipeline_32")


def _measured(
    contender: Contender, tally: _Tally, rows: BenchmarkRows, latency_rows: int, classifier: Classifier
) -> ContenderResult:
    rate, labels = spread(tally.rates[contender.name]), tally.labels[contender.name]
    # The others' labels are compared with what a user gets without us, where it takes part
    reference = "pipeline_default" if "pipeline_default" in tally.labels else "dhrd"
    some, device = rows.part(0, _MEMORY_ROWS), classifier.device
    single = [rows.part(index, index + 1) for index in range(min(latency_rows, len(rows)))]
    return ContenderResult(
        title=contender.title,
        dtype=contender.dtype,
        batch_size=contender.batch_size,
        queries_per_second=rate,
        tokens_per_second=rate.median * rows.num_tokens / len(rows),
        label_agreement=_share(labels, tally.labels[reference]),
        label_agreement_with=reference,
        accuracy=_share(labels, rows.gold) if rows.gold is not None else None,
        memory=peak_memory(contender.run, some, device) if contender.in_process else None,
        latency=latency(contender.run, single),
    )


def _share(some: Sequence[str], others: Sequence[str]) -> float:
    return sum(a == b for a, b in zip(some, others, strict=True)) / len(some)
