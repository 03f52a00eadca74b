"""Where the time of a training step goes, and what share of the machine's matrix products it reaches.

    python benchmarks/training_profile.py [--rounds 5] [--output benchmarks/results/training_profile.json]

SmolLM2-135M, 8 rows of random tokens, bf16 autocast, `lm_targets: all`, fused AdamW; with inputs of about 100 tokens
and 60 of continuation (`short`), and of 128 to 192 and 60 (`long`). Steps, of both arms:

    dhrd, pooled    as they are
    dhrd_compiled   with `training.compile`; beside the others once more (`compiled`), on the rows of `short`
    dhrd_fused      with torch's fused attention instead of `model/attention.py`; on `short`

`share_of_matmul_rate`: operations that the step needs, of the tokens that are there (linear layers, the LM head at its
targets, attention's causal pairs, three times those of a forward pass), a second, over the rate of the products of the
same shapes, forward and both gradients, each alone. Padding, casts, norms, the optimizer are time spent, not work done.

The bound of dhrd over pooled: dhrd runs the LM head for each token, pooled never; `operations_ratio` says what that
alone makes of the ratio. Variants take turns, step by step, in one process.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from training import NUM_LABELS, SETTINGS, inputs_alone, rows, save_backbone, write
from training_step import clocks, conditions, spread_of

from dhrd.benchmark.machine import matmul_rate
from dhrd.config import LossSettings, ModelSettings, RunConfig
from dhrd.data.collate import collate
from dhrd.data.records import IGNORE, Batch, EncodedExample
from dhrd.model.backbone import load_backbone
from dhrd.model.dual_head import DualHeadModel
from dhrd.model.flops import causal_pairs, forward_cost, linear_shapes
from dhrd.training.setup import make_accelerator, make_train_state
from dhrd.training.step import TrainState, train_step

CPU = torch.device("cpu")
INPUT_TOKENS = {"short": (80, 120), "long": (128, 192), "compiled": (80, 120)}
ARMS = {
    "short": ("dhrd", "pooled", "dhrd_fused"),
    "long": ("dhrd", "pooled"),
    "compiled": ("dhrd", "pooled", "dhrd_compiled"),
}
PAIRS = (("dhrd", "pooled"), ("dhrd_compiled", "dhrd"), ("dhrd", "dhrd_fused"))
TARGETS = {"share_of_matmul_rate_at_least": 0.55, "time_ratio_over_token_ratio_at_most": 1.1}
KINDS = {
    "optimizer_and_clipping": ("_fused_adamw", "linalg_vector_norm", "_foreach"),
    "attention": ("scaled_dot_product", "aten::bmm", "aten::baddbmm", "aten::_softmax"),
    "products": ("aten::mm", "aten::addmm"),
    "casts_and_copies": ("aten::copy_", "aten::fill_", "aten::zero_"),
}
"""Kinds of operators by a part of their name; whatever has the vocabulary's size, but the optimizer, is `lm_head`."""


@dataclass(frozen=True, slots=True)
class Arm:
    """A step, and what it works on."""

    state: TrainState
    batch: Batch

    def __call__(self) -> None:
        """One update."""
        train_step(self.state, [self.batch], 1)


def make_arm(directory: Path, examples: list[EncodedExample], name: str) -> Arm:
    """A DHRD or a pooled step on some rows."""
    reasons = name.startswith("dhrd")
    loss = LossSettings(reasoning_weight=float(reasons))
    training = SETTINGS.model_copy(update={"compile": name.endswith("compiled")})
    config = RunConfig(model=ModelSettings(name_or_path=str(directory)), loss=loss, training=training)
    backbone = load_backbone(config.model)
    model = DualHeadModel(num_labels=NUM_LABELS, settings=config.model, loss=loss, backbone=backbone)
    state = make_train_state(model, config, make_accelerator(config, "cpu"), 100)
    if name == "dhrd_fused":
        model.causal_lm.set_attn_implementation("sdpa")
    pad = backbone.tokenizer.pad_token_id
    return Arm(state, collate(examples if reasons else inputs_alone(examples), pad_token_id=pad, num_labels=NUM_LABELS))


def operations(arm: Arm) -> dict[str, float]:
    """Floating-point operations that a step needs: forward, and twice that backward."""
    lengths = arm.batch.attention_mask_BT.sum(1).tolist()
    body = forward_cost(arm.state.model.causal_lm.base_model)
    pairs = body.flops(0, sum(map(causal_pairs, lengths)))
    return {"layers": 3.0 * body.flops(sum(lengths), 0), "attention": 3.0 * pairs, "lm_head": 6.0 * _head_size(arm)}


def _head_size(arm: Arm) -> int:
    """Weights of the LM head times the targets it is run for."""
    if "reasoning" not in arm.state.weights.names:
        return 0
    assert arm.batch.target_BT is not None
    return arm.state.model.causal_lm.get_output_embeddings().weight.numel() * int((arm.batch.target_BT != IGNORE).sum())


def rate_at_own_shapes(arm: Arm) -> float:
    """FLOP/s of the step's products, each alone: the padded tokens through each layer, 340 targets through the LM head;
    forward, and the gradients of inputs and of weights."""
    shapes = Counter({(arm.batch.input_ids_BT.numel(), *s): n for s, n in _layers(arm).items()})
    if size := _head_size(arm):
        wide, narrow = arm.state.model.causal_lm.get_output_embeddings().weight.shape
        shapes[340, narrow, wide] = size // (340 * narrow * wide)
    needed_s = sum(count * seconds_of(m, k, n) for (m, k, n), count in shapes.items())
    return sum(6.0 * m * k * n * count for (m, k, n), count in shapes.items()) / needed_s


@cache
def seconds_of(m: int, k: int, n: int) -> float:
    """Of a product (m, k) x (k, n) and of its two gradients, the best of a few of each."""
    shapes = ((m, k, n), (m, n, k), (n, m, k))
    return sum(2.0 * m * k * n / matmul_rate(*shape, torch.bfloat16, CPU, repeats=5) for shape in shapes)


def _layers(arm: Arm) -> Counter[tuple[int, int]]:
    return linear_shapes(arm.state.model.causal_lm.base_model)


def take_turns(arms: dict[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each arm in each round; a first step of each warms up.

    By the processor, a thread: what else ran on the cores meanwhile is not counted.
    """
    for arm in arms.values():
        arm()
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    for index in range(rounds):
        print(f"  {', '.join(arms)}: round {index + 1} of {rounds}", file=sys.stderr, flush=True)
        for name, arm in arms.items():
            began = time.process_time()
            arm()
            seconds[name].append((time.process_time() - began) / torch.get_num_threads())
    return seconds


def time_share(arm: Arm) -> dict[str, float]:
    """Where a step's time goes, by torch's profiler; `python` is what no operator takes."""
    vocabulary = arm.state.model.causal_lm.get_output_embeddings().weight.shape[0]
    began = clocks()[1]
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as profiler:
        arm()
    whole_us = 1e6 * (clocks()[1] - began)
    taken = dict.fromkeys(
        ("products", "lm_head", "attention", "optimizer_and_clipping", "casts_and_copies", "elementwise"), 0.0
    )
    for event in profiler.key_averages(group_by_input_shape=True):
        if event.key.startswith("aten::"):
            taken[_kind(event.key, event.input_shapes, vocabulary)] += event.self_cpu_time_total
    shares = {name: round(spent / whole_us, 3) for name, spent in taken.items()}
    return shares | {"python": round(max(0.0, 1 - sum(taken.values()) / whole_us), 3)}


def _kind(name: str, shapes: Iterable[Any], vocabulary: int) -> str:
    kind = next((kind for kind, parts in KINDS.items() if any(part in name for part in parts)), "elementwise")
    if kind != "optimizer_and_clipping" and any(isinstance(s, list) and vocabulary in s for s in shapes):
        return "lm_head"
    return kind


def measure(directory: Path, names: Iterable[str], examples: list[EncodedExample], rounds: int) -> dict[str, Any]:
    """The figures of one set of rows."""
    arms = {name: make_arm(directory, examples, name) for name in names}
    seconds = take_turns(dict(arms), rounds)
    found = {name: _figures(arm, seconds[name]) for name, arm in arms.items()}
    needed = {name: sum(operations(arm).values()) for name, arm in arms.items()}
    token_ratio = _tokens(arms["dhrd"]) / _tokens(arms["pooled"])
    ratios = {
        f"{ours}/{theirs}": spread_of(a / b for a, b in zip(seconds[ours], seconds[theirs], strict=True))
        for ours, theirs in PAIRS
        if {ours, theirs} <= set(arms)
    }
    return found | {
        "time_ratio": ratios,
        "token_ratio": round(token_ratio, 3),
        "operations_ratio": round(needed["dhrd"] / needed["pooled"], 3),
        "time_ratio_over_token_ratio": round(ratios["dhrd/pooled"]["median"] / token_ratio, 3),
        "conditions": conditions(examples) | {"mixed_precision": SETTINGS.mixed_precision},
    }


def _tokens(arm: Arm) -> int:
    return int(arm.batch.attention_mask_BT.sum())


def _figures(arm: Arm, seconds: list[float]) -> dict[str, Any]:
    needed, own = operations(arm), rate_at_own_shapes(arm)
    rate = sum(needed.values()) / statistics.median(seconds)
    return {
        "step_seconds": spread_of(seconds),
        "num_tokens": _tokens(arm),
        "num_tokens_with_padding": arm.batch.input_ids_BT.numel(),
        "needed_gflop": {name: round(some / 1e9, 1) for name, some in needed.items()},
        "gflop_per_second": round(rate / 1e9, 1),
        "matmul_gflop_per_second_at_own_shapes": round(own / 1e9, 1),
        "share_of_matmul_rate": round(rate / own, 3),
        "time_share": time_share(arm),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=INPUT_TOKENS, help="these rows alone; the others stay as the file has them")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/training_profile.json"))
    parser.add_argument("--cache", type=Path, default=Path("build/smollm2"), help="where the backbone is unpacked")
    given = parser.parse_args()
    directory = save_backbone(given.cache)
    found = json.loads(given.output.read_text()) if given.only and given.output.is_file() else {"targets": TARGETS}
    for name in [given.only] if given.only else INPUT_TOKENS:
        found[name] = measure(directory, ARMS[name], rows(input_tokens=INPUT_TOKENS[name]), given.rounds)
    write(found, given.output)


if __name__ == "__main__":
    main()
