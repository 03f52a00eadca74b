"""Time of a DHRD step on SmolLM2-135M, as it was against what `auto` and `cache_frozen` make of it; ratios in one run.

    python benchmarks/training.py --group frozen,full [--rounds 7] [--output benchmarks/results/training_step.json]
    python benchmarks/training.py --group memory --output benchmarks/results/training_memory.json
    python benchmarks/training.py --group compiled,compiled_kept --output benchmarks/results/training_compiled.json

The rows are those of `training.py`: 8 of about 100 tokens of input and 60 of continuation, `lm_targets: all`.

    frozen         fp32, `freeze_layers: 20` of 30, what the C library does with freed memory by itself: as it was
    frozen_auto    `mixed_precision: auto`, freed memory kept
    frozen_kept    the same with `cache_frozen`, from the second epoch on; the first costs what frozen_auto costs
    full           fp32, all layers trained: as it was
    full_auto      `mixed_precision: auto`, freed memory kept
    full_returned  as full_auto, what the C library does with freed memory by itself
    …_compiled     the same with `compile`: fewer passes over memory, the same products

What to expect, by counting matrix products (3.54 M weights in a block, 28.3 M in the tied LM head, whose weight is
frozen with the embeddings and so needs no gradient of its own; 1,440 positions with padding, 1,280 of them targets):

    frozen, frozen_auto   2·1440·20·3.54 + 6·1440·10·3.54 + 4·1280·28.3 = 204 + 306 + 145 = 655 GFLOP
    frozen_kept                                                              306 + 145 = 451 GFLOP

So frozen_kept / frozen can come to 0.69 / (bf16's rate / fp32's rate), were there nothing but products.

Each variant has a process of its own, and they take turns, so that a drift of the machine hits all of them.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from dhrd._device import describe_device
from dhrd._versions import library_versions
from dhrd.config import ModelSettings, RunConfig, TrainingSettings
from dhrd.data.batches import PlannedUpdates
from dhrd.data.records import EncodedExample
from dhrd.model.backbone import load_backbone
from dhrd.model.dual_head import DualHeadModel
from dhrd.training import setup
from dhrd.training.frozen import FrozenUpdates
from dhrd.training.step import train_step

NUM_FROZEN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """How a step is run.

    Args:
        freeze_layers: Of SmolLM2's 30.
        mixed_precision: As `training.mixed_precision`.
        cache_frozen: As `training.cache_frozen`.
        keep_memory: Whether the process keeps what it frees.
        compile: As `training.compile`.
    """

    freeze_layers: int = NUM_FROZEN
    mixed_precision: Literal["auto", "no"] = "auto"
    cache_frozen: bool = False
    keep_memory: bool = True
    compile: bool = False


GROUPS = {
    "frozen": {
        "frozen": Variant(mixed_precision="no", keep_memory=False),
        "frozen_auto": Variant(),
        "frozen_kept": Variant(cache_frozen=True),
    },
    "full": {
        "full": Variant(freeze_layers=0, mixed_precision="no", keep_memory=False),
        "full_auto": Variant(freeze_layers=0),
    },
    "memory": {
        "full_returned": Variant(freeze_layers=0, keep_memory=False),
        "full_auto": Variant(freeze_layers=0),
    },
    "compiled": {
        "full_auto": Variant(freeze_layers=0),
        "full_compiled": Variant(freeze_layers=0, compile=True),
    },
    "compiled_kept": {
        "frozen_kept": Variant(cache_frozen=True),
        "frozen_kept_compiled": Variant(cache_frozen=True, compile=True),
    },
}
VARIANTS = {name: variant for group in GROUPS.values() for name, variant in group.items()}
KINDS = ("processor", "clock")
TARGETS = {"frozen_kept/frozen": 0.35}


def make_step(variant: Variant, directory: Path, rows: list[EncodedExample], num_labels: int) -> Callable[[], None]:
    """One update of a variant."""
    if not variant.keep_memory:
        setup.keep_freed_memory = lambda: False  # type: ignore[assignment]
    training = TrainingSettings(
        schedule="constant",
        warmup_share=0,
        batch_size=len(rows),
        mixed_precision=variant.mixed_precision,
        cache_frozen=variant.cache_frozen,
        compile=variant.compile,
    )
    model_settings = ModelSettings(name_or_path=str(directory), freeze_layers=variant.freeze_layers)
    config = RunConfig(model=model_settings, training=training)
    backbone = load_backbone(config.model)
    precision = setup.choose_precision(variant.mixed_precision, "cpu", backbone.model.config)
    accelerator = setup.make_accelerator(config, "cpu", precision)
    model = DualHeadModel(num_labels=num_labels, settings=config.model, loss=config.loss, backbone=backbone)
    planned = PlannedUpdates(
        examples=rows, num_labels=num_labels, pad_token_id=backbone.tokenizer.pad_token_id, batch_size=len(rows)
    )
    updates = FrozenUpdates(updates=planned, model=model, accelerator=accelerator) if variant.cache_frozen else planned
    state = setup.make_train_state(model, config, accelerator, 100)

    def step() -> None:
        train_step(state, next(updates.epoch(0)), 1)

    return step


def work(name: str, directory: Path, rows: list[EncodedExample], num_labels: int) -> None:
    """A variant's process: a step for each line on stdin, its seconds by the processor and by the clock on stdout."""
    answer(make_step(VARIANTS[name], directory, rows, num_labels))


def answer(step: Callable[[], object]) -> None:
    """Run a step for each line on stdin and tell its seconds on stdout; two first steps warm up."""
    step()
    step()
    print("ready", flush=True)
    for _ in sys.stdin:
        began = clocks()
        step()
        say_seconds(began)


Clocks = tuple[float, float]
Seconds = dict[str, list[Clocks]]


def clocks() -> Clocks:
    """Seconds of this process by the processor, and by the clock."""
    return time.process_time(), time.perf_counter()


def say_seconds(began: Clocks) -> None:
    """Tell on stdout how long ago that was, by both clocks."""
    print(*(now - then for now, then in zip(clocks(), began, strict=True)), flush=True)


def measure(names: list[str], command: list[str], rounds: int) -> Seconds:
    """Seconds of each variant in each round, by the processor and by the clock."""
    workers = {
        name: subprocess.Popen([*command, "--worker", name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for name in names
    }
    seconds: Seconds = {name: [] for name in names}
    try:
        for worker in workers.values():
            assert worker.stdout is not None
            assert worker.stdout.readline() == "ready\n", "a variant's process ended; its error is above"
        for index in range(rounds):
            for name, worker in workers.items():
                assert worker.stdin is not None and worker.stdout is not None
                worker.stdin.write("\n")
                worker.stdin.flush()
                processor, clock = map(float, worker.stdout.readline().split())
                seconds[name].append((processor, clock))
            print(f"  {', '.join(names)}: round {index + 1} of {rounds}", file=sys.stderr, flush=True)
    finally:
        for worker in workers.values():
            worker.kill()
    return seconds


def spread_of(values: Iterable[float]) -> dict[str, Any]:
    """Median and extremes."""
    found = list(values)
    return {name: round(of(found), 3) for name, of in (("median", statistics.median), ("min", min), ("max", max))}


def medians(seconds: Seconds) -> dict[str, dict[str, float]]:
    """The median step of each variant, by both clocks."""
    return {
        name: {kind: round(statistics.median(pair[i] for pair in pairs), 3) for i, kind in enumerate(KINDS)}
        for name, pairs in seconds.items()
    }


def conditions(rows: list[EncodedExample]) -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "backbone": "SmolLM2-135M-Instruct, fp32 weights",
        "batch_size": len(rows),
        "num_input_tokens": [len(e.input_ids) for e in rows],
        "num_continuation_tokens": [len(e.continuation_ids) for e in rows],
        "num_threads": torch.get_num_threads(),
        "machine": f"{platform.machine()}, {describe_device(torch.device('cpu'))}",
        "load_average_1_min": os.getloadavg()[0],
        "versions": library_versions(),
    }


def _ratios(groups_s: list[Seconds], kind: int) -> dict[str, Any]:
    ratios: dict[str, Any] = {}
    for seconds in groups_s:
        base, *others = seconds
        for name in others:
            pair = f"{name}/{base}"
            values = [ours[kind] / theirs[kind] for ours, theirs in zip(seconds[name], seconds[base], strict=True)]
            ratios[pair] = spread_of(values) | ({"target_at_most": TARGETS[pair]} if pair in TARGETS else {})
    return ratios


def report(groups: list[str], command: list[str], rounds: int, rows: list[EncodedExample]) -> dict[str, Any]:
    """Ratios to the first variant of each group, absolute figures, conditions."""
    groups_s = [measure(list(GROUPS[group]), command, rounds) for group in groups]
    ratios = {kind: _ratios(groups_s, i) for i, kind in enumerate(KINDS)}
    precision = setup.choose_precision(
        "auto", "cpu", load_backbone(ModelSettings(name_or_path=command[-1])).model.config
    )
    return {
        "time_ratio": ratios,
        "rounds": rounds,
        "median_step_seconds": medians({name: taken for seconds in groups_s for name, taken in seconds.items()}),
        "conditions": conditions(rows)
        | {
            "auto": {"mixed_precision": precision.mixed, "measured": precision.measured},
            "shared": "other work ran on the same cores all the time: the clock tells how busy they were, so read the "
            "processor's seconds; variants took turns step by step",
        },
    }
