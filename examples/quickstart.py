"""The pooled baseline and DHRD from the same seed on a returns desk's mail, side by side.

    python examples/quickstart.py [--output quickstart]

Trains both on SmolLM2-135M with the data beside this file, evaluates them on its test rows, and measures queries per
second of the classifier and of chain-of-thought decoding with the same backbone. What it leaves is a classifier that
transformers loads.
"""

from __future__ import annotations

import argparse
import copy
import logging
import os
import shutil
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

if not sys.stderr.isatty():
    os.environ.setdefault("TQDM_DISABLE", "1")  # read when tqdm is imported

from rich.console import Console
from rich.table import Table

import dhrd
from dhrd.benchmark.measure import Throughput, throughput
from dhrd.config import RunConfig, load_config
from dhrd.data.sources import open_source
from dhrd.evaluation.intervals import wilson
from dhrd.inference.cot import decode
from dhrd.model.artifact import load_reasoning_model
from dhrd.model.backbone import Backbone, load_backbone

HERE = Path(__file__).parent / "returns_desk"
NUM_COT_ROWS, MAX_NEW_TOKENS = 4, 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("quickstart"))
    output: Path = parser.parse_args().output
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    began = time.perf_counter()
    say("loading SmolLM2-135M")
    config = load_config(
        HERE / "quickstart.yaml", data__train=str(HERE / "train.jsonl"), data__test=str(HERE / "test.jsonl")
    )
    backbone = load_backbone(config.model)
    results = {}
    for name, weight in (("pooled", 0.0), ("dhrd", config.loss.reasoning_weight)):
        say(f"training {name}")
        results[name] = train_and_evaluate(config, backbone, output / name, weight)
    say("measuring queries per second")
    speed = measure_speed(output / "dhrd", config)
    show(results, speed, output, time.perf_counter() - began)


def say(text: str) -> None:
    print(f"• {text} …", file=sys.stderr, flush=True)


def train_and_evaluate(config: RunConfig, backbone: Backbone, output: Path, weight: float) -> dict[str, Any]:
    """One arm: the same seed, rows, order and first head; only the weight of the reasoning loss differs."""
    shutil.rmtree(output, ignore_errors=True)
    arm = load_config(base=config, output_dir=str(output), loss__reasoning_weight=weight)
    own = Backbone(copy.deepcopy(backbone.model), backbone.tokenizer, backbone.name, backbone.added_pad)
    began = time.perf_counter()
    dhrd.train(arm, backbone=own)
    seconds = time.perf_counter() - began
    return {**dhrd.evaluate(output, split="test", config=arm).metrics, "seconds": seconds}


def measure_speed(directory: Path, config: RunConfig) -> dict[str, Any]:
    """Queries per second on test rows, from text to label: the classifier, and decoding with its own backbone."""
    classifier = dhrd.Classifier.from_pretrained(directory)
    examples = open_source(config.data.test, config.data).load()
    texts = [example.input_text for example in examples]
    pooled = throughput(lambda: classifier.predict(texts), len(texts))
    reasoner = load_reasoning_model(directory).eval()
    few = examples[:NUM_COT_ROWS]
    inputs = classifier.encoder.encode([(example.columns(), example.where) for example in few])

    def run() -> list[Any]:
        return decode(reasoner, classifier.tokenizer, inputs, classifier.labels, max_new_tokens=MAX_NEW_TOKENS)

    decoded = run()
    return {"pooled": pooled, "cot": throughput(run, len(few), repeats=2, warmup=0), "decoded": decoded, "few": few}


def show(results: dict[str, dict[str, Any]], speed: dict[str, Any], output: Path, seconds: float) -> None:
    console = Console()
    any_result = results["dhrd"]
    num_rows = any_result["num_examples"]
    majority = max(row["support"] for row in any_result["per_class"].values()) / num_rows
    table = Table(title=f"{num_rows} test rows; always answering the commonest label scores {majority:.3f}")
    for column in ("way", "accuracy", "95 % interval", "queries/s", "trained in"):
        table.add_column(column, justify="left" if column == "way" else "right")
    rate: Throughput = speed["pooled"]
    for name, title in (("pooled", "pooled baseline"), ("dhrd", "DHRD")):
        metrics = results[name]
        low, high = metrics["interval_95"]["accuracy"]
        qps = f"{rate.median_qps:.1f}" if name == "dhrd" else "the same"
        table.add_row(
            title, f"{metrics['accuracy']:.3f}", f"{low:.3f} to {high:.3f}", qps, f"{metrics['seconds'] / 60:.1f} min"
        )
    cot: Throughput = speed["cot"]
    decoded, few = speed["decoded"], speed["few"]
    hits = sum(d.label == e.label for d, e in zip(decoded, few, strict=True))
    low, high = wilson(hits, len(few))
    table.add_row(f"chain of thought ({len(few)} rows)", f"{hits / len(few):.2f}", f"{low:.2f} to {high:.2f}",
                  f"{cot.median_qps:.2f}", "with DHRD")  # fmt: skip
    console.print(table)
    mean_tokens = sum(d.num_tokens for d in decoded) / len(decoded)
    unread = Counter(d.label is None for d in decoded)[True]
    console.print(
        f"The classifier answers {rate.median_qps / cot.median_qps:.0f} times the queries per second of decoding: "
        f"{mean_tokens:.0f} new tokens a row on average (at most {MAX_NEW_TOKENS}), {unread} of {len(decoded)} answers "
        "could not be read."
    )
    console.print("One seed and few rows: see whether the intervals part before calling one arm better.")
    console.print(f"The classifier is in {output / 'dhrd'}. Load it with transformers:")
    console.print(f"    pipeline('text-classification', model='{output / 'dhrd'}')", highlight=False)
    console.print(f"{seconds / 60:.1f} minutes in all.")


if __name__ == "__main__":
    main()
