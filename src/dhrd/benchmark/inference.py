"""`dhrd benchmark`: a trained classifier against what a user would run instead, in one run on the same rows.

Contenders take turns, round by round, so that a drift of the machine hits all alike; ratios are of one round, and what
is shown is their median with extremes. Everything is loaded before the first round and warmed up on some rows.
"""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from dhrd.benchmark import contenders
from dhrd.benchmark.contenders import BenchmarkRows, Contender
from dhrd.benchmark.decoding import WAYS, check_decoding, measure_decoding
from dhrd.benchmark.machine import conditions, matmul_flops_per_second, matmul_flops_per_second_of
from dhrd.benchmark.measure import latency, peak_memory, spread, time_share, timed
from dhrd.data.records import Example
from dhrd.errors import ConfigError, DataError
from dhrd.evaluation.evaluate import agreement
from dhrd.inference.classifier import Classifier
from dhrd.inference.engine.options import Work
from dhrd.model.flops import forward_cost

logger = logging.getLogger("dhrd")

PEERS = ("pipeline", "loop", "onnx", "vllm")
_MEMORY_ROWS, _SWEEP_ROWS, _PARITY_ROWS, _FORWARD_ROWS = 256, 24, 256, 512
_SHORTEST = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What to measure.

    Args:
        against: Of `PEERS` and the ways to decode, `cot`, `cot_untuned` and `cot_vllm`.
        batch_sizes: Of the pipeline: swept in the first round; 1, 32 and the best go on.
        repeats: Rounds.
        warmup_rows: That each contender runs before the first round.
        latency_rows: Single requests.
        cot_rows: Rows that are decoded.
        max_new_tokens: Longest rationale with its answer.
        parity: Compare with fp32, with sharing and without.
        onnx: A directory that `dhrd export` wrote.
    """

    against: Sequence[str] = ("pipeline", "loop")
    batch_sizes: Sequence[int] = (1, 2, 4, 8, 16, 32)
    repeats: int = 3
    warmup_rows: int = 64
    latency_rows: int = 100
    cot_rows: int = 8
    max_new_tokens: int = 500
    parity: bool = False
    onnx: Path | None = None


def benchmark(
    directory: Path,
    examples: Sequence[Example],
    settings: Settings,
    *,
    say: Callable[[str], None] = lambda text: None,
    **options: Any,
) -> dict[str, Any]:
    """Measure a trained classifier and its contenders.

    Args:
        directory: The artifact.
        examples: Rows; with labels accuracy is measured as well.
        settings: What to measure.
        say: Told what is being done.
        **options: As `Classifier.from_pretrained`'s.

    Returns:
        The result, as JSON takes it; every key has its unit in its name or none. See docs/benchmark.md.

    Raises:
        ConfigError: A contender is unknown, or not installed.
        DataError: There are no rows.
        ArtifactError: The artifact has no classifier, or none that a contender loads.
    """
    unknown = [one for one in settings.against if one not in (*PEERS, *WAYS)]
    if unknown:
        raise ConfigError(f"`against` {unknown[0]}: unknown; give some of {', '.join((*PEERS, *WAYS))}")
    if not examples:
        raise DataError("there are no rows to measure on; check the file and the split")
    say("loading")
    classifier = Classifier.from_pretrained(directory, **options)
    decoding = [one for one in settings.against if one in WAYS]
    check_decoding(decoding, classifier)
    rows = prepare_rows(classifier, examples)
    load_before = os.getloadavg()[0]
    found = list(_contenders(directory, classifier, settings))
    for one in found:
        say(f"warming up {one.title}")
        one.run(rows.part(0, settings.warmup_rows))
    measured, batch_sizes = _rounds(found, rows, settings, say, classifier)
    say("latency, memory, roofline")
    result = {
        "rows": {
            "num_rows": len(rows),
            "num_tokens": rows.num_tokens,
            "mean_tokens": rows.num_tokens / len(rows),
            "max_input_tokens": classifier.info.max_input_tokens,
        },
        **measured,
        "roofline": roofline(classifier, rows, settings.repeats),
        "sweeps": {"batch_size": batch_sizes, "length": _length_sweep(found, classifier, rows)},
    }
    if settings.parity:
        say("parity with fp32")
        result["parity"] = _parity(directory, classifier, rows, options)
    if decoding:
        say("decoding")
        ours_qps = result["contenders"]["dhrd"]["queries_per_second"]["median"]
        some = rows.part(0, settings.cot_rows)
        cot = measure_decoding(directory, classifier, some, decoding, max_new_tokens=settings.max_new_tokens)
        for way in cot.values():
            way["dhrd_over_it"] = ours_qps / way["queries_per_second"]
        result["decoding"] = cot
    result["conditions"] = {
        **conditions(classifier.device, classifier.dtype),
        "load_average_1_min_before": load_before,
        "settings": {**asdict(settings), "onnx": str(settings.onnx) if settings.onnx else None, **_plain(options)},
    }
    return result


def _plain(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value if isinstance(value, int | None) else str(value) for name, value in options.items()}


def prepare_rows(classifier: Classifier, examples: Sequence[Example]) -> BenchmarkRows:
    """Rows as each contender takes them. Labels are kept where all rows have one."""
    inputs = classifier.encoder.encode_examples(examples)
    labels = [example.label for example in examples]
    names = classifier.labels.names
    gold = None
    if not classifier.labels.multi_label and all(label is not None for label in labels):
        gold = [names[classifier.labels.encode(one, e.where)[0]] for one, e in zip(labels, examples, strict=True)]  # type: ignore[arg-type]
    return BenchmarkRows(list(examples), [item.text for item in inputs], [item.input_ids for item in inputs], gold)


def _contenders(directory: Path, classifier: Classifier, settings: Settings) -> Iterator[Contender]:
    yield contenders.ours(classifier)
    if classifier.engine.options.share_prefixes:
        apart = contenders.without_sharing(classifier)
        yield contenders.ours(apart, "dhrd_without_sharing", "dhrd.Classifier, rows run whole")
    if "pipeline" in settings.against or "loop" in settings.against:
        stock = contenders.stock_model(directory, classifier, classifier.dtype)
    if "pipeline" in settings.against:
        for size in settings.batch_sizes:
            yield contenders.pipeline(stock, classifier, size)
        whole = contenders.stock_model(directory, classifier, torch.float32)
        title = "transformers pipeline as it comes: batch 1, fp32"
        yield contenders.pipeline(whole, classifier, 1, "pipeline_default", title)
    if "loop" in settings.against:
        yield contenders.loop(stock, classifier)
    if "onnx" in settings.against:
        if settings.onnx is None:
            raise ConfigError("`against=onnx`: give `onnx=DIR`, the directory that `dhrd export` wrote")
        yield contenders.onnx(settings.onnx, classifier)
    if "vllm" in settings.against:
        yield contenders.vllm(directory, classifier)


def _rounds(
    found: list[Contender], rows: BenchmarkRows, settings: Settings, say: Callable[[str], None], classifier: Classifier
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Time all contenders in turn; after the first round the pipeline goes on at batch 1, 32 and its best.

    Returns:
        What was measured, and the pipeline's sweep of batch sizes.
    """
    rates: dict[str, list[float]] = {one.name: [] for one in found}
    labels: dict[str, list[str]] = {}
    work = Work()
    going = list(found)
    for number in range(settings.repeats):
        for one in going:
            say(f"round {number + 1} of {settings.repeats}: {one.title}")
            before = copy.copy(classifier.engine.work)
            taken_s, said = timed(one.run, rows)
            rates[one.name].append(len(rows) / taken_s)
            labels.setdefault(one.name, said)
            if one.name == "dhrd":
                work = classifier.engine.work - before
        if number == 0:
            sweep = [one for one in found if one.name.startswith("pipeline_") and one.name != "pipeline_default"]
            best = max(sweep, key=lambda one: rates[one.name][0], default=None)
            kept = {"pipeline_1", "pipeline_32", best.name if best else ""}
            going = [one for one in found if one not in sweep or one.name in kept]
            if work.sharing_ratio < 1.05:  # nothing to compare: both run the same
                going = [one for one in going if one.name != "dhrd_without_sharing"]
    measured = {
        "contenders": {one.name: _measured(one, rates, labels, rows, settings, classifier) for one in going},
        "dhrd_over": {
            one.name: spread(a / b for a, b in zip(rates["dhrd"], rates[one.name], strict=True))
            for one in going
            if one.name != "dhrd"
        },
        "pipeline_best_batch_size": best.batch_size if best else None,
        "work": {
            "padding_ratio": work.padding_ratio,
            "sharing_ratio": work.sharing_ratio,
            "num_needed_tokens": work.num_needed_tokens,
            "num_run_tokens": work.num_run_tokens,
            "num_passes": work.num_passes,
        },
    }
    return measured, [{"batch_size": one.batch_size, "queries_per_second": rates[one.name][0]} for one in sweep]


def _measured(
    one: Contender,
    rates: dict[str, list[float]],
    labels: dict[str, list[str]],
    rows: BenchmarkRows,
    settings: Settings,
    classifier: Classifier,
) -> dict[str, Any]:
    qps = spread(rates[one.name])
    reference = labels.get("pipeline_default", labels["dhrd"])
    found: dict[str, Any] = {
        "title": one.title,
        "dtype": one.dtype,
        "batch_size": one.batch_size,
        "queries_per_second": qps,
        "tokens_per_second": qps["median"] * rows.num_tokens / len(rows),
        "label_agreement": _share(labels[one.name], reference),
        "label_agreement_with": "pipeline_default" if "pipeline_default" in labels else "dhrd",
        "accuracy": _share(labels[one.name], rows.gold) if rows.gold is not None else None,
        "memory": peak_memory(one.run, rows.part(0, _MEMORY_ROWS), classifier.device) if one.in_process else None,
    }
    single = [rows.part(index, index + 1) for index in range(min(settings.latency_rows, len(rows)))]
    found["latency"] = latency(one.run, single)
    return found


def _share(some: Sequence[str], others: Sequence[str]) -> float:
    return sum(a == b for a, b in zip(some, others, strict=True)) / len(some)


def roofline(classifier: Classifier, rows: BenchmarkRows, repeats: int) -> dict[str, Any]:
    """How much of the machine's matrix products the forward pass reaches, tokens in and logits out.

    Operations are those of the model's linear layers and of attention for the tokens that are needed after sharing:
    padding, masks, norms and activations are time spent, not work done.
    """
    engine, some = classifier.engine, list(rows.input_ids[:_FORWARD_ROWS])
    before = copy.copy(engine.work)
    taken_s = spread(timed(engine.logits, some)[0] for _ in range(repeats))
    work = engine.work - before
    flops = forward_cost(classifier.body).flops(work.num_needed_tokens, work.num_needed_pairs) / repeats
    device, dtype = classifier.device, classifier.dtype
    peak = matmul_flops_per_second(dtype, device)
    own = matmul_flops_per_second_of(classifier.body, engine.options.max_tokens_per_pass, dtype, device)
    reached = flops / taken_s["median"]
    return {
        "num_rows": len(some),
        "flops_needed": flops,
        "forward_flops_per_second": reached,
        "needed_tokens_per_second": work.num_needed_tokens / repeats / taken_s["median"],
        "matmul_flops_per_second": peak,
        "matmul_flops_per_second_at_own_shapes": own,
        "share_of_matmul_rate": reached / peak,
        "share_of_matmul_rate_at_own_shapes": reached / own if own else None,
        **time_share(lambda: engine.logits(some), device),
    }


def _length_sweep(found: Sequence[Contender], classifier: Classifier, rows: BenchmarkRows) -> list[dict[str, Any]]:
    """Queries per second against input length: few rows, each cut to one length."""
    peers = [one for one in found if one.name in ("pipeline_1", "pipeline_32")]
    plain = classifier.info.model_copy(update={"input_template": "{{ input_text }}", "chat": False})
    options = replace(classifier.engine.options, share_prefixes=False)
    ours = Classifier(classifier.body, classifier.head, classifier.tokenizer, plain, options=options)
    sweep: list[dict[str, Any]] = []
    length = _SHORTEST
    while True:
        long = [ids[:length] for ids in rows.input_ids if len(ids) >= length][:_SWEEP_ROWS]
        if len(long) < min(8, len(rows)):
            return sweep
        texts = [classifier.tokenizer.decode(ids, skip_special_tokens=True) or "-" for ids in long]
        some = BenchmarkRows([Example(input_text=text) for text in texts], texts, long)
        rates = {one.name: len(some) / timed(one.run, some)[0] for one in (contenders.ours(ours), *peers)}
        sweep.append({"num_tokens": length, "num_rows": len(some), "queries_per_second": rates})
        length *= 2


def _parity(directory: Path, classifier: Classifier, rows: BenchmarkRows, options: dict[str, Any]) -> dict[str, Any]:
    """This dtype and sharing against fp32 with every row run whole."""
    exact = Classifier.from_pretrained(
        directory, **options | {"dtype": torch.float32, "share_prefixes": False, "compile": False}
    )
    some = list(rows.examples[:_PARITY_ROWS])
    expected = exact.predict_proba(some)
    apart = contenders.without_sharing(classifier)
    multi_label = classifier.labels.multi_label
    return {
        "num_rows": len(some),
        "dtype": str(classifier.dtype).removeprefix("torch."),
        "against": "float32, rows run whole",
        "as_run": agreement(classifier.predict_proba(some), expected, multi_label=multi_label),
        "without_sharing": agreement(apart.predict_proba(some), expected, multi_label=multi_label),
    }
