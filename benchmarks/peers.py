"""How fast the engine runs SmolLM2-135M beside other engines, from tokens to labels, in one process, taking turns.

    python benchmarks/peers.py boolq cb multirc instruction [--model DIR] [--rows N] [--shared-rows N] [--rounds N]
        [--openvino DIR] [--arms dhrd,dhrd_compiled,vllm] [--pause] [--output FILE]

boolq, cb             rows that share nothing but a template's words
multirc               paragraph, question, answer: rows in the file's order; the arms that share, the first and vLLM
instruction           rows of 60 tokens after one instruction of 600; the same

Arms: the engine, the engine with compiled layers, vLLM's pooling runner with prefix caching (where it is installed),
and with `--openvino DIR` what `dhrd export --format openvino` wrote of the model. All have the same weights, dtype,
threads and tokens; vLLM's engine is a process of its own, on the same cores, and stands still in the others' turns.
`--pause` waits for a line on stdin once all are loaded and warm.

The physics: on rows that share nothing all do the same arithmetic, and the ratio is what each spends beside it. On
shared rows vLLM reads a cache, block by block of tokens that are equal, where ours lays rows out as trees.
Predicted: 0.9 to 1.1 apart; 1 or more shared.

Prints what is being run, and one JSON line last.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from inference import INSTRUCTION_TOKENS, ROW_TOKENS, RULE, cut, rows, say, untrained

from dhrd.benchmark.machine import conditions
from dhrd.benchmark.measure import spread, timed
from dhrd.data.superglue import TASKS
from dhrd.export.openvino import OpenvinoForward
from dhrd.inference.classifier import Classifier
from dhrd.inference.engine.batching import predict_logits
from dhrd.inference.vllm import awake, start_vllm

LIMITS = {"boolq": 512, "cb": 256, "multirc": 1024, "instruction": INSTRUCTION_TOKENS + ROW_TOKENS}
SHARED = ("multirc", "instruction")
OPENVINO_ROWS = 8

Inputs = Sequence[list[int]]
Run = Callable[[Inputs], list[int]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("works", nargs="+", choices=tuple(LIMITS))
    parser.add_argument("--superglue", type=Path, default=Path("../shared/data/superglue"))
    parser.add_argument("--model", type=Path, help="an artifact; left out: an untrained head")
    parser.add_argument("--arms", default="dhrd,dhrd_compiled,vllm")
    parser.add_argument("--openvino", type=Path, help="what `dhrd export --format openvino` wrote of the model")
    parser.add_argument("--rows", type=int, default=128)
    parser.add_argument("--shared-rows", type=int, default=384, help="of multirc and instruction")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pause", action="store_true")
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        model = given.model or untrained(Path(directory) / "model", "boolq", 1024)
        result = measure(model, given)
    print(json.dumps(result))


def measure(model: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Every work by every arm, in turns; written work by work."""
    classifier = Classifier.from_pretrained(model, device="cpu", compile=False, keep_prefixes=False)
    works = {name: tokens_of(name, classifier, given) for name in given.works}
    arms: dict[str, Run] = {}
    began, start_seconds = time.perf_counter(), {}
    for name, run in made(model, classifier, given.arms.split(","), given.openvino):
        start_seconds[name] = time.perf_counter() - began
        say(f"warming up {name}, which started in {start_seconds[name]:.0f} s")
        for inputs in works.values():
            run(inputs[:2])
        arms[name], began = run, time.perf_counter()
    if given.pause:
        say("ready")
        sys.stdin.readline()
    found: dict[str, Any] = {"conditions": conditions(classifier.device, classifier.dtype).model_dump()}
    found["start_seconds"] = start_seconds
    for name, inputs in works.items():
        able = {arm: run for arm, run in arms.items() if name not in SHARED or arm in ("dhrd", "vllm")}
        found[name] = take_turns(able, inputs, classifier, given.rounds)
        if given.output is not None:
            given.output.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return found


def tokens_of(work: str, classifier: Classifier, given: argparse.Namespace) -> Inputs:
    """The rows of a work as all arms get them."""
    if work == "instruction":
        fixed = cut(classifier, "".join(RULE.format(number) for number in range(60)), INSTRUCTION_TOKENS)
        passages = [
            cut(classifier, row.fields["passage"], ROW_TOKENS) for row in rows("boolq", given, given.shared_rows)
        ]
        return [classifier.tokenizer(fixed + passage)["input_ids"] for passage in passages]
    num_rows = given.shared_rows if work in SHARED else given.rows
    info = classifier.info.model_copy(update={"input_template": TASKS[work].template, "max_input_tokens": LIMITS[work]})
    reader = Classifier(classifier.body, classifier.head, classifier.tokenizer, info)
    inputs = reader.encoder.encode([(row.columns(), row.where) for row in rows(work, given, num_rows)])
    return [item.input_ids for item in inputs]


def made(model: Path, classifier: Classifier, wanted: Sequence[str], export: Path | None) -> Iterator[tuple[str, Run]]:
    """Arms by name."""
    if "dhrd" in wanted:
        yield "dhrd", lambda inputs: classifier.engine.logits(inputs).argmax(1).tolist()
    if "dhrd_compiled" in wanted:
        compiled = Classifier.from_pretrained(model, device="cpu", compile=True, keep_prefixes=False)
        yield "dhrd_compiled", lambda inputs: compiled.engine.logits(inputs).argmax(1).tolist()
    if export is not None:
        yield "openvino", openvino(export, classifier)
    if "vllm" in wanted and importlib.util.find_spec("vllm"):
        yield "vllm", vllm(model, classifier)


def openvino(directory: Path, classifier: Classifier) -> Run:
    forward, pad_token_id = OpenvinoForward.from_pretrained(directory), classifier.tokenizer.pad_token_id

    def run(inputs: Inputs) -> list[int]:
        logits = predict_logits(forward, inputs, pad_token_id=pad_token_id, batch_size=OPENVINO_ROWS)
        return logits.argmax(1).tolist()

    return run


def vllm(model: Path, classifier: Classifier) -> Run:
    dtype = str(classifier.dtype).removeprefix("torch.")
    options = {"runner": "pooling", "dtype": dtype, "max_model_len": max(LIMITS.values())}
    engine = start_vllm(model, classifier.device, enable_prefix_caching=True, **options)

    def run(inputs: Inputs) -> list[int]:
        with awake():
            engine.reset_prefix_cache()  # every round begins as a first one does
            answers = engine.classify([{"prompt_token_ids": ids} for ids in inputs], use_tqdm=False)
        return [max(range(len(a.outputs.probs)), key=a.outputs.probs.__getitem__) for a in answers]

    return run


def take_turns(arms: dict[str, Run], inputs: Inputs, classifier: Classifier, rounds: int) -> dict[str, Any]:
    """Rows a second of each arm, and the ratios to the first, which are of one round."""
    rates: dict[str, list[float]] = {name: [] for name in arms}
    labels: dict[str, list[int]] = {}
    for number in range(rounds):
        for name, run in arms.items():
            taken_s, labels[name] = timed(run, inputs)
            rates[name].append(len(inputs) / taken_s)
            say(f"round {number + 1}: {name} {rates[name][-1]:.2f} rows/s")
    return {
        "rows_per_second": {name: spread(values).model_dump() for name, values in rates.items()},
        "over_vllm": {name: spread(map(ratio, values, rates["vllm"])).model_dump() for name, values in rates.items()}
        if "vllm" in rates
        else {},
        "label_agreement_with_dhrd": {
            name: sum(map(int.__eq__, given, labels["dhrd"])) / len(inputs) for name, given in labels.items()
        },
        "num_rows": len(inputs),
        "mean_tokens": sum(map(len, inputs)) / len(inputs),
    }


def ratio(ours: float, theirs: float) -> float:
    return ours / theirs


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
