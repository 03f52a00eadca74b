"""What `dhrd predict --engine ray` costs beside the plain engine: one worker, all cores for both, a tiny model.

    python benchmarks/scale.py --output benchmarks/results/scale.json

The smaller the model, the more of the time is ours. The cluster is of this machine; the engines take turns, and a
ratio is of one round. Each labels few rows and many: the difference is what a row costs, without loading the model and
without starting a worker; `job` is all that one waits for on a cluster that is there, with many rows.
Prints one JSON line last.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import ray
from predictions import spread, train, write_rows

from dhrd._versions import library_versions
from dhrd.run.predict.predict import predict_to
from dhrd.run.ray.predict import predict_by_ray

TARGET = 1.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--few", type=int, default=16_384)
    parser.add_argument("--many", type=int, default=98_304)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    print(f"predicted: a row 1.0 times, a job 1.3 times; aimed at: {TARGET} times a row")
    with tempfile.TemporaryDirectory() as folder:
        result = compare(Path(folder), arguments.few, arguments.many, arguments.rounds)
    if arguments.output is not None:
        arguments.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result))


def compare(folder: Path, few: int, many: int, rounds: int) -> dict[str, Any]:
    """Both engines, round by round."""
    model = train(folder)
    data = {count: write_rows(folder / f"{count}.jsonl", count) for count in (few, many)}
    began = time.perf_counter()
    ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    cluster_s = time.perf_counter() - began
    predict_by = {"plain": predict_to, "ray": partial(predict_by_ray, num_workers=1)}
    taken = []
    for _ in range(rounds):
        taken.append({name: costs(predict, folder / name, model, data) for name, predict in predict_by.items()})
        print(taken[-1], flush=True)
    ray.shutdown()
    keys = ("row_us", "job_s")
    return {
        "ray_over_plain": {key: spread([one["ray"][key] / one["plain"][key] for one in taken]) for key in keys},
        "target_at_most": {"row_us": TARGET},
        **{name: {key: spread([one[name][key] for one in taken]) for key in (*keys, "start_s")} for name in predict_by},
        "cluster_start_s": cluster_s,
        "num_rows": [few, many],
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "load_average_1_min": os.getloadavg()[0],
        "versions": library_versions() | {"ray": ray.__version__},
    }


def costs(predict: Callable[..., object], output: Path, model: Path, data: Mapping[int, Path]) -> dict[str, float]:
    """Of a row, of the job with many rows, and of what comes before its first row."""
    seconds = {}
    for count, path in data.items():
        began = time.perf_counter()
        predict(f"{output}-{count}/", model, str(path), device="cpu", dtype="float32")
        seconds[count] = time.perf_counter() - began
    few, many = data
    row_s = (seconds[many] - seconds[few]) / (many - few)
    return {"row_us": 1e6 * row_s, "job_s": seconds[many], "start_s": seconds[few] - few * row_s}


if __name__ == "__main__":
    main()
