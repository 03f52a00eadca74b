"""The result of a benchmark: keys with a unit have it in their name. See docs/benchmark.md.

What was not measured (parity, decoding) is not in the JSON; what could not be measured (memory, accuracy) is null.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer


class _Result(BaseModel):
    model_config = ConfigDict(frozen=True)

    @model_serializer(mode="wrap")
    def _given(self, dump: SerializerFunctionWrapHandler) -> dict[str, object]:
        return {name: value for name, value in dump(self).items() if name in self.model_fields_set}


class Spread(_Result):
    """Median and extremes of repeats."""

    median: float
    min: float
    max: float


class Latency(_Result):
    """Percentiles of single requests."""

    p50_ms: float
    p95_ms: float
    p99_ms: float
    num_requests: int


class Memory(_Result):
    """The most memory in use, and how much that is over what was in use before, models included."""

    peak_memory_bytes: int
    peak_increase_bytes: int


class RowsResult(_Result):
    """The rows that were run."""

    num_rows: int
    num_tokens: int
    mean_tokens: float
    max_input_tokens: int


class ContenderResult(_Result):
    """One way to run the classifier; tokens are those of the rows, without padding."""

    title: str
    dtype: str
    batch_size: int | None
    queries_per_second: Spread
    tokens_per_second: float
    label_agreement: float
    label_agreement_with: str
    accuracy: float | None
    memory: Memory | None
    latency: Latency


class WorkResult(_Result):
    """What the engine computed for the rows once."""

    padding_ratio: float
    sharing_ratio: float
    num_needed_tokens: int
    num_run_tokens: int
    num_passes: int


class TimeShare(_Result):
    """Where a call's time goes.

    Args:
        time_share: Shares of `matrix_products`, `attention` and `rest` (norms, rotations, activations, copies), sum 1.
        operator_time_share: Shares of the longest-running operators, by name.
    """

    time_share: Mapping[str, float]
    operator_time_share: Mapping[str, float]


class Roofline(TimeShare):
    """How much of the machine's matrix products the forward pass reaches, tokens in and logits out."""

    num_rows: int
    flops_needed: float
    forward_flops_per_second: float
    needed_tokens_per_second: float
    matmul_flops_per_second: float
    matmul_flops_per_second_at_own_shapes: float
    share_of_matmul_rate: float
    share_of_matmul_rate_at_own_shapes: float | None
    time_share: Mapping[str, float] = {}  # older files have no profile
    operator_time_share: Mapping[str, float] = {}


class BatchSizePoint(_Result):
    """The pipeline at one batch size."""

    batch_size: int
    queries_per_second: float


class LengthPoint(_Result):
    """Rows cut to one length, by contender."""

    num_tokens: int
    num_rows: int
    queries_per_second: Mapping[str, float]


class Sweeps(_Result):
    """Queries per second against batch size and against input length."""

    batch_size: Sequence[BatchSizePoint]
    length: Sequence[LengthPoint]


class Agreement(_Result):
    """The difference between two sets of probabilities for the same rows."""

    max_probability_difference: float
    label_agreement: float


class ParityResult(_Result):
    """The dtype and sharing of the run against fp32 with every row run whole."""

    num_rows: int
    dtype: str
    against: str
    as_run: Agreement
    without_sharing: Agreement


class DecodingResult(_Result):
    """Chain of thought on the same rows; an answer that cannot be read is wrong."""

    title: str
    queries_per_second: float
    tokens_per_second: float
    mean_new_tokens: float
    unparsable_share: float
    accuracy: float | None
    accuracy_interval_95: tuple[float, float] | None = None
    num_rows: int
    dhrd_over_it: float = float("nan")


class Conditions(_Result):
    """What every figure depends on."""

    device: str
    threads: int
    capability: str | None
    dtype: str
    load_average_1_min: float
    versions: Mapping[str, str]
    load_average_1_min_before: float | None = None
    settings: Mapping[str, Any] = {}


class Rounds(_Result):
    """What the contenders did, taking turns."""

    contenders: Mapping[str, ContenderResult]
    dhrd_over: Mapping[str, Spread]
    pipeline_best_batch_size: int | None
    work: WorkResult


class BenchmarkResult(Rounds):
    """A benchmark; figures of one run on the same rows."""

    rows: RowsResult
    roofline: Roofline
    sweeps: Sweeps
    parity: ParityResult | None = None
    decoding: Mapping[str, DecodingResult] = {}
    conditions: Conditions
