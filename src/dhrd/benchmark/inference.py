"""`dhrd benchmark`: a trained classifier against what a user would run instead, in one run on the same rows.

Everything is loaded before the first round and warmed up on some rows.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dhrd.benchmark.contenders import MAKERS, BenchmarkRows, Contender, Lineup, ours, without_sharing
from dhrd.benchmark.decoding import check_decoding, measure_decoding
from dhrd.benchmark.limits import length_sweep, parity_with_fp32, roofline
from dhrd.benchmark.machine import conditions
from dhrd.benchmark.result import BenchmarkResult, Conditions, DecodingResult, RowsResult, Sweeps
from dhrd.benchmark.rounds import take_turns
from dhrd.benchmark.settings import WAYS, Settings
from dhrd.data.label_space import check_one_task
from dhrd.data.records import Example
from dhrd.errors import DataError
from dhrd.export.runtimes import RUNTIMES
from dhrd.inference.classifier import Classifier

Say = Callable[[str], None]


def benchmark(
    directory: Path,
    examples: Sequence[Example],
    settings: Settings,
    *,
    say: Say = lambda text: None,
    **options: Any,
) -> BenchmarkResult:
    """Measure a trained classifier and its contenders.

    Args:
        directory: The artifact.
        examples: Rows; if they have labels, accuracy is measured as well.
        settings: What to measure.
        say: Called with progress messages.
        **options: Options of `Classifier.from_pretrained`.

    Raises:
        ConfigError: A way to decode does not suit the artifact.
        DataError: There are no rows.
        ArtifactError: The artifact has no classifier, or none that a contender can load.
    """
    if not examples:
        raise DataError("there are no rows to measure on; check the file and the split")
    say("loading")
    again = {"keep_prefixes": False}  # the same rows come in each round: they would be found, not computed
    classifier = Classifier.from_pretrained(directory, **options | again)
    check_one_task(classifier.labels, "a benchmark")
    check_decoding([name for name in settings.against if name in WAYS], classifier)
    rows, load_before = prepare_rows(classifier, examples), os.getloadavg()[0]
    contenders = _warm(Lineup(directory, classifier, settings.batch_sizes, settings.exports), rows, settings, say)
    rounds, batch_sizes = take_turns(
        contenders, rows, classifier, repeats=settings.repeats, latency_rows=settings.latency_rows, say=say
    )
    say("roofline")
    sweeps = Sweeps(batch_size=batch_sizes, length=length_sweep(contenders, classifier, rows))
    measured: dict[str, Any] = {"roofline": roofline(classifier, rows, settings.repeats), "sweeps": sweeps}
    if settings.parity:
        say("parity with fp32")
        measured["parity"] = parity_with_fp32(directory, classifier, rows, options)
    if any(name in WAYS for name in settings.against):
        say("decoding")
        rate = rounds.contenders["dhrd"].queries_per_second.median
        measured["decoding"] = _decoding(directory, classifier, rows, settings, rate)
    return BenchmarkResult(
        rows=RowsResult(
            num_rows=len(rows),
            num_tokens=rows.num_tokens,
            mean_tokens=rows.num_tokens / len(rows),
            max_input_tokens=classifier.info.max_input_tokens,
        ),
        **dict(rounds),
        **measured,
        conditions=_conditions(classifier, load_before, settings, options),
    )


def prepare_rows(classifier: Classifier, examples: Sequence[Example]) -> BenchmarkRows:
    """Rows as each contender takes them. Labels are kept where all rows have one."""
    inputs = classifier.encoder.encode([(example.columns(), example.where) for example in examples])
    return BenchmarkRows(
        list(examples), [item.text for item in inputs], [item.input_ids for item in inputs], _gold(classifier, examples)
    )


def _gold(classifier: Classifier, examples: Sequence[Example]) -> list[str] | None:
    if classifier.labels.multi_label:
        return None
    labelled = [(example.label, example.where) for example in examples if example.label is not None]
    gold = [classifier.labels.names[classifier.labels.encode(label, where)[0]] for label, where in labelled]
    return gold if len(gold) == len(examples) else None


def _warm(lineup: Lineup, rows: BenchmarkRows, settings: Settings, say: Say) -> list[Contender]:
    """All contenders, loaded and warmed up."""
    contenders = [ours(lineup.classifier)]
    if lineup.classifier.engine.options.share_prefixes:
        apart = without_sharing(lineup.classifier)
        contenders.append(ours(apart, "dhrd_without_sharing", "dhrd.Classifier, rows run whole"))
    for name, make in MAKERS.items():
        contenders += make(lineup) if name in settings.against else ()
    for contender in contenders:
        say(f"warming up {contender.title}")
        contender.run(rows.part(0, settings.warmup_rows))
    return contenders


def _decoding(
    directory: Path, classifier: Classifier, rows: BenchmarkRows, settings: Settings, rate: float
) -> dict[str, DecodingResult]:
    ways = [name for name in settings.against if name in WAYS]
    some = rows.part(0, settings.cot_rows)
    measured = measure_decoding(directory, classifier, some, ways, max_new_tokens=settings.max_new_tokens)
    return {
        name: way.model_copy(update={"dhrd_over_it": rate / way.queries_per_second}) for name, way in measured.items()
    }


def _conditions(
    classifier: Classifier, load_before: float, settings: Settings, options: Mapping[str, object]
) -> Conditions:
    given = asdict(settings)
    exports = given.pop("exports")
    given |= {name: str(exports[name]) if name in exports else None for name in RUNTIMES}
    given |= {name: value if isinstance(value, int | None) else str(value) for name, value in options.items()}
    told = {"load_average_1_min_before": load_before, "settings": given}
    return conditions(classifier.device, classifier.dtype).model_copy(update=told)
