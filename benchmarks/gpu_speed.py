"""How fast a device trains and classifies, against a bare loop and transformers' pipeline. `gpu.py` runs it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from gpu_checks import Bench, encoded_rows, text_rows
from transformers import AutoModelForSequenceClassification

from dhrd.benchmark.inference import Settings, benchmark
from dhrd.benchmark.machine import conditions, matmul_flops_per_second
from dhrd.config import load_config
from dhrd.data.records import IGNORE, Batch
from dhrd.model.flops import causal_pairs, forward_cost
from dhrd.model.precision import fast_dtype
from dhrd.training.setup import make_accelerator, make_train_state
from dhrd.training.step import train_step

Step = Callable[[], Any]


def training(bench: Bench, batch_size: int, num_steps: int) -> dict[str, Any]:
    """Tokens a second through an update, in the device's fast dtype: DHRD, pooled, and a bare loop on the inputs.

    The variants take turns, step by step. `share_of_matmul_rate`: operations of the linear layers, attention and LM
    head, three times those of a forward pass, over what the device reaches in square products.
    """
    rows = encoded_rows(bench.backbone, batch_size)
    whole, inputs = bench.batch(rows), bench.inputs(rows)
    steps: dict[str, tuple[Step, Batch]] = {
        "dhrd": (_ours(bench, whole, reasoning_weight=1.0), whole),
        "pooled": (_ours(bench, inputs, reasoning_weight=0.0), inputs),
        "bare": (_bare(bench, inputs), inputs),
    }
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(num_steps + 2):
        for name, (step, _) in steps.items():
            taken_s = _timed(step, whole.input_ids_BT.device)
            if number >= 2:  # the first allocate and choose kernels
                seconds[name].append(taken_s)
    device = whole.input_ids_BT.device
    peak = matmul_flops_per_second(fast_dtype(device, bench.backbone.model.config), device)
    found = {
        name: _measured(bench, batch, statistics.median(seconds[name]), peak, reads=name == "dhrd")
        for name, (_, batch) in steps.items()
    }
    pairs = list(zip(seconds["pooled"], seconds["bare"], strict=True))
    ratio = statistics.median(ours / theirs for ours, theirs in pairs)
    return {"batch_size": batch_size, "matmul_flops_per_second": peak, "pooled_over_bare_seconds": ratio, **found}


def compiled(bench: Bench, batch_size: int, num_steps: int) -> dict[str, Any]:
    """A DHRD step whose layers are compiled (`training.compile`) beside the plain one, in turns, and what it costs."""
    batch = bench.batch(encoded_rows(bench.backbone, batch_size))
    began_s = time.perf_counter()
    steps = {"compiled": _ours(bench, batch, reasoning_weight=1.0, is_compiled=True)}
    steps["compiled"]()
    compile_s = time.perf_counter() - began_s
    steps["plain"] = _ours(bench, batch, reasoning_weight=1.0)
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(num_steps + 2):
        for name, step in steps.items():
            taken_s = _timed(step, batch.input_ids_BT.device)
            if number >= 2:
                seconds[name].append(taken_s)
    ratio = statistics.median(ours / theirs for ours, theirs in zip(*seconds.values(), strict=True))
    medians = {f"{name}_step_seconds": statistics.median(each) for name, each in seconds.items()}
    return {"batch_size": batch_size, "compile_seconds": compile_s, **medians, "compiled_over_plain_seconds": ratio}


def _ours(bench: Bench, batch: Batch, *, reasoning_weight: float, is_compiled: bool = False) -> Step:
    config = load_config(
        loss__reasoning_weight=reasoning_weight, training__schedule="constant", training__compile=is_compiled
    )
    accelerator = make_accelerator(config, bench.device)
    state = make_train_state(bench.new_model(config.loss), config, accelerator, 100)
    return lambda: train_step(state, [batch], 1)


def _bare(bench: Bench, batch: Batch) -> Step:
    device = batch.input_ids_BT.device
    model = AutoModelForSequenceClassification.from_pretrained(bench.artifact, dtype=torch.float32).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5, fused=True)
    dtype = fast_dtype(device, model.config)
    assert batch.label_BC is not None
    given = {"input_ids": batch.input_ids_BT, "attention_mask": batch.attention_mask_BT.long()}
    labels = batch.label_BC.argmax(1)

    def step() -> None:
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            loss = model(**given, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        float(loss.detach())  # a loop that logs its loss

    return step


def _timed(step: Step, device: torch.device) -> float:
    began = time.perf_counter()
    step()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began


def _measured(bench: Bench, batch: Batch, median_s: float, peak: float, *, reads: bool) -> dict[str, float]:
    lengths = batch.attention_mask_BT.sum(1).tolist()
    forward = forward_cost(bench.backbone.model.base_model).flops(sum(lengths), sum(map(causal_pairs, lengths)))
    if reads:
        assert batch.target_BT is not None
        weight = bench.backbone.model.get_output_embeddings().weight
        forward += 2 * weight.numel() * int((batch.target_BT != IGNORE).sum())
    return {
        "step_seconds": median_s,
        "num_tokens": sum(lengths),
        "tokens_per_second": sum(lengths) / median_s,
        "share_of_matmul_rate": 3 * forward / median_s / peak,
    }


def inference(bench: Bench, num_rows: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Rows a second from text to label against the pipeline and a loop; see docs/benchmark.md for the keys."""
    settings = Settings(batch_sizes=(1, 32, 128), repeats=2, warmup_rows=32, latency_rows=20, parity=True)
    result = benchmark(bench.artifact, text_rows(num_rows), settings, say=say, device=bench.device)
    return result.model_dump(mode="json")


def run_speed(
    bench: Bench, deadline_s: float, say: Callable[[str], None], *, num_rows: int = 256
) -> Iterator[tuple[str, Any]]:
    """Training at two batch sizes, inference, compiled training, each as it is measured; it names what is not begun."""
    device = bench.model.causal_lm.device
    yield "conditions", conditions(device, fast_dtype(device, bench.backbone.model.config)).model_dump()
    work: dict[str, Callable[[], Any]] = {
        "training, batch 8": lambda: training(bench, 8, 8),
        "training, batch 32": lambda: training(bench, 32, 8),
        "inference": lambda: inference(bench, num_rows, say),
        "training compiled, batch 32": lambda: compiled(bench, 32, 8),
    }
    for name, measure in work.items():
        if time.monotonic() > deadline_s:
            yield name, {"error": "no time left"}
            continue
        say(name)
        try:
            yield name, measure()
        except Exception as raised:  # a measurement that fails leaves the others to run
            yield name, {"error": f"{type(raised).__name__}: {' '.join(str(raised).split())[:300]}"}
