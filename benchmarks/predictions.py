"""What `dhrd evaluate --predictions` costs beside `dhrd predict`: seconds and memory, 100,000 rows, a tiny model.

    python benchmarks/predictions.py --output benchmarks/results/predictions.json
    python benchmarks/predictions.py --long --output benchmarks/results/predictions_memory.json

The second is of `dhrd predict` alone: its memory at a tenth, a half and the end of 3,000,000 rows of a sentence,
without ids, and of 2 GB of texts of 20 kB. They come through a pipe, so that how far it has read is known here.

The smaller the model, the more of the time is ours. Each command is a process of its own, and they take turns; a ratio
is of one round. Seconds are of the CPU, so that other work beside it decides less; seconds of the clock stand beside
them. Prints one JSON line last.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import dhrd
from dhrd._versions import library_versions
from dhrd.config import load_config

BACKBONE = "scratch:package:dhrd/experiments/desk_llama/config.json"
TARGET = 1.2
LABELS = ("keep", "return", "repair")
# The peak that the kernel gives a parent is the larger of the two processes'.
PROGRAM = """
import sys
from pathlib import Path
from dhrd.cli import main
try:
    main(sys.argv[2:])
finally:
    Path(sys.argv[1]).write_text(Path("/proc/self/status").read_text())
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    if arguments.long:
        print("predicted: the end within 1.1 times a tenth, for both")
        with tempfile.TemporaryDirectory() as folder:
            finish(long_jobs(Path(folder)), arguments.output)
        return
    print(f"predicted: 1.1 times the seconds, 1.05 times the memory; aimed at: {TARGET} of both")
    with tempfile.TemporaryDirectory() as folder:
        finish(compare(Path(folder), arguments.rows, arguments.rounds), arguments.output)


def finish(result: dict[str, Any], output: Path | None) -> None:
    """Write the result where it was asked for, and print it."""
    result |= {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "load_average_1_min": os.getloadavg()[0],
        "versions": library_versions(),
    }
    if output is not None:
        output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result))


def long_jobs(folder: Path) -> dict[str, Any]:
    """`dhrd predict` over many rows, and over long ones."""
    model, words = train(folder), " ".join(f"word{number % 997}" for number in range(2500))[:20_000]
    short = (f"Case {number}: the parcel came late." for number in range(3_000_000))
    long = (f"Case {number}: {words}" for number in range(100_000))
    return {
        "3_000_000_rows": piped(model, folder / "short.jsonl", short, 3_000_000),
        "2_gb_of_text": piped(model, folder / "long.jsonl", long, 100_000),
    }


def piped(model: Path, output: Path, texts: Iterable[str], count: int) -> dict[str, Any]:
    """Resident memory of `dhrd predict`, on one thread, when so many of the rows went into its pipe."""
    status = output.with_suffix(".status")
    command = program(status, ["predict", "--model", model, "--input", "-", "--output", output])
    process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdin=subprocess.PIPE)
    assert process.stdin is not None
    moments, memory, num_bytes = {count // 10: "at_10_percent", count // 2: "at_50_percent", count: "at_end"}, {}, 0
    for number, text in enumerate(texts, 1):
        line = json.dumps({"input_text": text}).encode() + b"\n"
        num_bytes += process.stdin.write(line)
        if number in moments:
            lines = Path(f"/proc/{process.pid}/status")
            memory[f"resident_{moments[number]}_bytes"] = bytes_of(lines, "VmRSS")
            print(number, memory, flush=True)
    process.stdin.close()
    _, code, used = os.wait4(process.pid, 0)
    assert code == 0, command
    with output.open("rb") as file:
        assert sum(1 for _ in file) == count
    return {
        **memory,
        "peak_memory_bytes": bytes_of(status, "VmHWM"),
        "num_rows": count,
        "read_bytes": num_bytes,
        "cpu_s": used.ru_utime + used.ru_stime,
    }


def compare(folder: Path, num_rows: int, rounds: int) -> dict[str, Any]:
    """Both commands, round by round."""
    model, data = train(folder), write_rows(folder / "rows.jsonl", num_rows)
    commands = {
        "predict": ["predict", "--model", model, "--input", data, "--output", folder / "predicted.jsonl"],
        "evaluate": ["evaluate", "--model", model, "--data", data, "--predictions", folder / "evaluated.jsonl"],
    }
    taken = [{name: run(command, folder / "status") for name, command in commands.items()} for _ in range(rounds)]
    ratios = {key: [one["evaluate"][key] / one["predict"][key] for one in taken] for key in taken[0]["predict"]}
    return {
        "evaluate_over_predict": {key: spread(values) for key, values in ratios.items()},
        "target_at_most": TARGET,
        **{name: {key: spread([one[name][key] for one in taken]) for key in ratios} for name in commands},
        "num_rows": num_rows,
    }


def train(folder: Path) -> Path:
    """A classifier of two layers, 64 wide, after one epoch of a few rows."""
    rows = write_rows(folder / "train.jsonl", 30)
    config = load_config(
        overrides=[
            f"model.name_or_path={BACKBONE}",
            f"data.train={rows}",
            "loss.reasoning_weight=0",
            "data.max_input_tokens=128",
            "data.max_sequence_tokens=192",
            "training.num_epochs=1",
            f"output_dir={folder / 'model'}",
        ]
    )
    return dhrd.train(config).output_dir


def write_rows(path: Path, count: int) -> Path:
    """Rows of a sentence each, whose label is a word of theirs."""
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            label = LABELS[number % 3]
            text = f"Case {number}: the parcel came {'very ' * (number % 7)}late, and the customer wants to {label} it."
            file.write(json.dumps({"id": f"r{number}", "input_text": text, "label": label}) + "\n")
    return path


def run(command: list[Any], status: Path) -> dict[str, float]:
    """A command in a process of its own, on one thread: its seconds and the most memory that it had."""
    began, arguments = time.perf_counter(), program(status, command)
    process = subprocess.Popen(arguments, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL)
    _, code, used = os.wait4(process.pid, 0)
    assert code == 0, arguments
    return {
        "cpu_s": used.ru_utime + used.ru_stime,
        "wall_s": time.perf_counter() - began,
        "peak_memory_bytes": bytes_of(status, "VmHWM"),
    }


def program(status: Path, command: list[Any]) -> list[str]:
    """What runs a command of dhrd, and at its end leaves what the kernel knows of its process."""
    return [sys.executable, "-c", PROGRAM, *map(str, (status, *command))]


def bytes_of(status: Path, name: str) -> int:
    """A number of a process's status."""
    line = next(line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024


def spread(values: list[float]) -> dict[str, float]:
    """Median and extremes."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


if __name__ == "__main__":
    main()
