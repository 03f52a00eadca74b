"""How far a classifier is from what its machine can do, from fp32, and how its rate falls with the inputs' length."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from dhrd.benchmark.contenders import BenchmarkRows, Contender, ours, without_sharing
from dhrd.benchmark.machine import matmul_flops_per_second, matmul_flops_per_second_of
from dhrd.benchmark.measure import spread, time_share, timed
from dhrd.benchmark.result import Agreement, LengthPoint, ParityResult, Roofline
from dhrd.data.records import Example
from dhrd.evaluation.evaluate import agreement
from dhrd.inference.classifier import Classifier
from dhrd.model.flops import forward_cost
from dhrd.model.precision import dtype_name

_SWEEP_ROWS, _PARITY_ROWS, _FORWARD_ROWS = 24, 256, 512
_SHORTEST = 32


def roofline(classifier: Classifier, rows: BenchmarkRows, repeats: int) -> Roofline:
    """How much of the machine's matrix products the forward pass reaches, tokens in and logits out.

    Operations are those of the model's linear layers and of attention for the tokens that are needed after sharing:
    padding, masks, norms and activations are time spent, not work done.
    """
    engine, some = classifier.engine, list(rows.input_ids[:_FORWARD_ROWS])
    before = copy.copy(engine.work)
    taken_s = spread(timed(engine.logits, some)[0] for _ in range(repeats)).median
    work = engine.work - before
    flops = forward_cost(classifier.body).flops(work.num_needed_tokens, work.num_needed_pairs) / repeats
    device, dtype = classifier.device, classifier.dtype
    peak = matmul_flops_per_second(dtype, device)
    own = matmul_flops_per_second_of(classifier.body, engine.options.max_tokens_per_pass, dtype, device)
    return Roofline(
        num_rows=len(some),
        flops_needed=flops,
        forward_flops_per_second=flops / taken_s,
        needed_tokens_per_second=work.num_needed_tokens / repeats / taken_s,
        matmul_flops_per_second=peak,
        matmul_flops_per_second_at_own_shapes=own,
        share_of_matmul_rate=flops / taken_s / peak,
        share_of_matmul_rate_at_own_shapes=flops / taken_s / own if own else None,
        **dict(time_share(lambda: engine.logits(some), device)),
    )


def length_sweep(contenders: Sequence[Contender], classifier: Classifier, rows: BenchmarkRows) -> list[LengthPoint]:
    """Queries per second against input length: few rows, each cut to one length, run whole.

    Each length is run once before it is timed: on a GPU the first pass of a shape can take several times as long.
    """
    plain = classifier.info.model_copy(update={"input_template": "{{ input_text }}", "chat": False})
    options = replace(classifier.engine.options, share_prefixes=False)
    whole = ours(Classifier(classifier.body, classifier.head, classifier.tokenizer, plain, options=options))
    peers = [peer for peer in contenders if peer.name in ("pipeline_1", "pipeline_32")]
    sweep: list[LengthPoint] = []
    length = _SHORTEST
    while len(some := _cut(classifier, rows, length)) >= min(8, len(rows)):
        rates = {}
        for contender in (whole, *peers):
            contender.run(some)
            rates[contender.name] = len(some) / timed(contender.run, some)[0]
        sweep.append(LengthPoint(num_tokens=length, num_rows=len(some), queries_per_second=rates))
        length *= 2
    return sweep


def _cut(classifier: Classifier, rows: BenchmarkRows, length: int) -> BenchmarkRows:
    long = [ids[:length] for ids in rows.input_ids if len(ids) >= length][:_SWEEP_ROWS]
    texts = [classifier.tokenizer.decode(ids, skip_special_tokens=True) or "-" for ids in long]
    return BenchmarkRows([Example(input_text=text) for text in texts], texts, long)


def parity_with_fp32(
    directory: Path, classifier: Classifier, rows: BenchmarkRows, options: Mapping[str, Any]
) -> ParityResult:
    """This dtype and sharing against fp32 with every row run whole.

    Args:
        directory: The artifact.
        classifier: The classifier loaded from it.
        rows: Rows, the first of which are compared.
        options: The options that it was loaded with.
    """
    exact = Classifier.from_pretrained(
        directory, **{**options, "dtype": torch.float32, "share_prefixes": False, "compile": False}
    )
    some = list(rows.examples[:_PARITY_ROWS])
    expected = exact.predict_proba(some)
    as_run, apart = (
        Agreement(**agreement(model.predict_proba(some), expected, classifier.labels))
        for model in (classifier, without_sharing(classifier))
    )
    dtype = dtype_name(classifier.dtype)
    against = "float32, rows run whole"
    return ParityResult(num_rows=len(some), dtype=dtype, against=against, as_run=as_run, without_sharing=apart)
