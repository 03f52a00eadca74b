"""Time of an update whose rows share text, laid out as trees, against the same rows apart; ratios in one run.

    python benchmarks/training.py --group shared [--cases multirc,…] [--rounds 2] [--output …/training_shared.json]

SmolLM2-135M, all weights trained, `lm_targets: all`, 32 rows an update in micro-batches of 8, or, where they share text
of as many tokens as those have. Rows that share nothing run in the same micro-batches either way.

    multirc           answers to the questions about one paragraph, with a teacher's rationale (SuperGLUE)
    multirc_pooled    the same inputs alone, as the pooled baseline has them
    instruction       60 tokens of each row's own, 20 of input and 40 of continuation, after an instruction of 600
    apart             32 rows of 80 to 120 tokens and continuations of 45 to 75, that have nothing in common
    unlike            32 such rows of 20 to 240 tokens, two of three without continuation: padded by rows, in
                      micro-batches by tokens (`tokens`), and packed without padding (`packed`)

What to expect, by counting: tokens through the layers and the LM head, and the (query, key) pairs that a mask lets
through, all at one rate; `expected` in the report.
"""

from __future__ import annotations

import os
import platform
import random
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from dhrd._device import describe_device
from dhrd._versions import library_versions
from dhrd.config import ModelSettings, RunConfig, TrainingSettings, load_config
from dhrd.data.batches import PlannedUpdates
from dhrd.data.records import IGNORE, Batch, EncodedExample
from dhrd.data.rows import load_rows
from dhrd.data.sharing import Sharing
from dhrd.model.backbone import load_backbone
from dhrd.model.dual_head import DualHeadModel
from dhrd.model.flops import ForwardCost, forward_cost
from dhrd.training import build, setup
from dhrd.training.step import TrainState, train_step

NUM_ROWS, MICRO_BATCH_ROWS, NUM_LABELS = 32, 8, 3
TARGETS = {
    "multirc": {"shared": 4.0},
    "instruction": {"shared": 5.0},
    "apart": {"shared": round(1 / 1.02, 3)},
}
CASES = ("multirc", "multirc_pooled", "instruction", "apart", "unlike")


def drawn(rng: random.Random, low: int, high: int) -> list[int]:
    """Random tokens."""
    return [rng.randrange(100, 40000) for _ in range(rng.randint(low, high))]


def made(case: str) -> list[EncodedExample]:
    """The rows of a case of random tokens."""
    rng, before = random.Random(0), drawn(random.Random(1), 600, 600)
    lengths = {"instruction": (20, 20, 40, 40), "apart": (80, 120, 45, 75), "unlike": (20, 240, 45, 75)}[case]
    rows = []
    for i in range(NUM_ROWS):
        own, after = drawn(rng, *lengths[:2]), drawn(rng, *lengths[2:])
        rows.append(
            EncodedExample(
                id=str(i),
                input_ids=before + own if case == "instruction" else own,
                continuation_ids=[] if case == "unlike" and i % 3 else after,
                label=(i % NUM_LABELS,),
            )
        )
    return rows


def of_multirc(directory: Path, data: Path) -> list[EncodedExample]:
    """The answers of MultiRC that have a rationale, as tokens."""
    config = load_config(
        None,
        [
            f"model.name_or_path={directory}",
            "data.train=superglue:multirc",
            f"data.superglue_root={data / 'superglue'}",
            f"data.rationales={data / 'rationales/teacher/multirc.jsonl'}",
        ],
    )
    rows = load_rows(config)
    taught = [example for example in rows.train if example.rationale]
    encoded = build.encode(config, replace(rows, train=taught, validation=taught[:1]), load_backbone(config.model))
    return encoded.train.examples


def rows_of(case: str, directory: Path, data: Path) -> list[EncodedExample]:
    """The rows of a case: an update of them, or more of which one is taken."""
    if not case.startswith("multirc"):
        return made(case)
    rows = of_multirc(directory, data)
    return [replace(row, continuation_ids=[]) for row in rows] if case == "multirc_pooled" else rows


def arms_of(case: str, rows: list[EncodedExample], pad: int, pair: float) -> dict[str, list[Batch]]:
    """The same update in several layouts; `apart` is what the others are compared with."""
    updates = PlannedUpdates(
        examples=rows,
        num_labels=NUM_LABELS,
        pad_token_id=pad,
        batch_size=MICRO_BATCH_ROWS,
        gradient_accumulation_steps=NUM_ROWS // MICRO_BATCH_ROWS,
        group_by_prefix=case.startswith("multirc"),
    )
    most = MICRO_BATCH_ROWS * max(len(row.input_ids) + len(row.continuation_ids) for row in rows)
    layouts = {"apart": Sharing(), "shared": Sharing(pair=pair, dense=False)}
    if case == "unlike":
        layouts = {
            "apart": Sharing(),
            "tokens": Sharing(max_tokens=most),
            "packed": Sharing(max_tokens=most, pack_rows=True),
        }
    return {name: next(replace(updates, sharing=sharing).epoch(0)) for name, sharing in layouts.items()}


def work_of(batches: Sequence[Batch], cost: ForwardCost, head: int) -> float:
    """What an update costs by its products, in tokens through the layers: also of targets and (query, key) pairs."""
    total = 0.0
    for batch in batches:
        assert batch.target_BT is not None
        if batch.tree is None:
            num_tokens, num_targets = batch.input_ids_BT.numel(), int((batch.target_BT != IGNORE).sum())
            num_pairs = num_tokens * batch.input_ids_BT.shape[1] / (2 if batch.attention_mask_BT.all() else 1)
        else:
            assert batch.tree.target_N is not None
            num_tokens, num_targets = batch.tree.input_ids_SW.numel(), len(batch.tree.target_N)
            num_pairs = int(batch.tree.visible_SWK.sum())
        total += num_tokens + cost.tokens_per_pair * num_pairs + num_targets * 2 * head / cost.flops_per_token
    return total


Seconds = dict[str, list[tuple[float, float]]]
KINDS = ("clock", "processor")


def report(cases: Sequence[str], directory: Path, data: Path, rounds: int) -> dict[str, Any]:
    """Of each case how many times as fast its layouts are as the rows apart, absolute figures, conditions."""
    training = TrainingSettings(schedule="constant", warmup_share=0, learning_rate=1e-6)
    config = RunConfig(model=ModelSettings(name_or_path=str(directory)), training=training)
    backbone = load_backbone(config.model)
    precision = setup.choose_precision("auto", "cpu", backbone.model.config)
    accelerator = setup.make_accelerator(config, "cpu", precision)
    model = DualHeadModel(num_labels=NUM_LABELS, settings=config.model, loss=config.loss, backbone=backbone)
    state, cost = setup.make_train_state(model, config, accelerator, 100), forward_cost(model.causal_lm.base_model)
    head = model.causal_lm.get_output_embeddings().weight.numel()
    results: dict[str, Any] = {}
    for case in cases:
        rows = rows_of(case, directory, data)
        arms = arms_of(case, rows, backbone.tokenizer.pad_token_id, cost.tokens_per_pair)
        work = {name: work_of(batches, cost, head) for name, batches in arms.items()}
        train_step(state, arms[min(work, key=lambda name: work[name])][:1], 1)  # warms up what they share
        seconds = _measured(case, state, arms, rounds)
        results[case] = _compared(case, arms, seconds, work) | {"rounds": rounds, "conditions": _conditions(precision)}
    return results


def _measured(case: str, state: TrainState, arms: dict[str, list[Batch]], rounds: int) -> Seconds:
    """Seconds of each layout in each round, by the clock and by the processor; they take turns."""
    seconds: Seconds = {name: [] for name in arms}
    for index in range(rounds):
        for name in arms if index % 2 == 0 else reversed(arms):
            began, began_processor = time.perf_counter(), time.process_time()
            train_step(state, arms[name], 1)
            seconds[name].append((time.perf_counter() - began, time.process_time() - began_processor))
            print(f"  {case}, round {index + 1}: {name} {seconds[name][-1]}", file=sys.stderr, flush=True)
    return seconds


def _compared(case: str, arms: dict[str, list[Batch]], seconds: Seconds, work: dict[str, float]) -> dict[str, Any]:
    base, *others = arms
    return {
        "times_as_fast": {
            name: {
                **{
                    kind: round(
                        statistics.median(a[i] / b[i] for a, b in zip(seconds[base], seconds[name], strict=True)), 3
                    )
                    for i, kind in enumerate(KINDS)
                },
                "expected": round(work[base] / work[name], 3),
                **({"target_at_least": TARGETS[case][name]} if name in TARGETS.get(case, {}) else {}),
            }
            for name in others
        },
        "seconds": {
            name: {kind: [round(pair[i], 3) for pair in pairs] for i, kind in enumerate(KINDS)}
            for name, pairs in seconds.items()
        },
        "micro_batches": {
            name: [list((b.input_ids_BT if b.tree is None else b.tree.input_ids_SW).shape) for b in batches]
            for name, batches in arms.items()
        },
        "num_tokens": sum(batch.num_tokens for batch in arms[base]),
    }


def _conditions(precision: setup.Precision) -> dict[str, Any]:
    return {
        "backbone": "SmolLM2-135M-Instruct, fp32 weights, all trained",
        "auto": {"mixed_precision": precision.mixed, "measured": precision.measured},
        "num_threads": torch.get_num_threads(),
        "machine": f"{platform.machine()}, {describe_device(torch.device('cpu'))}",
        "load_average_1_min": os.getloadavg()[0],
        "versions": library_versions(),
    }
