"""How fast `dhrd serve` answers many clients, against the same classifier without HTTP and against a plain server.

    python benchmarks/serving.py [--rows 256] [--rounds 3] [--layers N] [--soak SECONDS] [--superglue DIR]
                                 [--output FILE]

SmolLM2-135M with an untrained head (its speed is that of a trained one), fp32; with --layers its first layers alone,
for slow machines: HTTP and the forming of batches weigh more then. Each client sends one row, waits for its
answer and sends the next, over loopback; clients and server share the machine's cores.

apart        BoolQ rows, which share nothing.
instruction  rows of 60 tokens after one instruction of 600, which the engine computes once a batch.

For both: rows a second of `Classifier.predict_proba` in a process that does nothing else, of `dhrd serve` with 64
clients, and their ratio, round by round in one run; median and high percentiles of the latency with 1, 8 and 64
clients; the same of a FastAPI application around transformers' pipeline, as it is usually written. Every answer is
compared with the offline one. With --soak the server runs on at full load, and its memory is read all the while.

Predicted: 0.9 of the offline rate where rows share nothing, since a batch holds the rows of 64 clients instead of
thousands; 0.85 after the instruction, which is computed anew for each batch. 3 times the plain server's rate where rows
share nothing, more where they do.

Prints what is being run, and one JSON line last.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import torch
from inference import INSTRUCTION_TOKENS, ROW_TOKENS, RULE, cut, rows, say, untrained

from dhrd.benchmark.machine import conditions
from dhrd.benchmark.measure import spread, timed
from dhrd.inference.classifier import Classifier

CLIENTS = (1, 8, 64)
TOLERANCE = 1e-3  # of a probability in fp32: batches of other shapes round otherwise
MEMORY_EVERY_S = 5.0

PLAIN = """
import sys
import torch, uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from transformers import pipeline

classify = pipeline("text-classification", model=sys.argv[1], top_k=None, truncation=True, dtype=torch.float32)
app = FastAPI()

class Request(BaseModel):
    input: str

@app.post("/classify")
def answer(request: Request):
    return classify(request.input)

@app.get("/health")
def health():
    return {}

uvicorn.run(app, port=int(sys.argv[2]), log_level="warning")
"""
"""As tutorials write it: one row a call, calls in FastAPI's threads."""


@dataclass(slots=True)
class Load:
    """What clients saw.

    Args:
        seconds: From the first request to the last answer.
        latencies_s: Of each request.
        statuses: How often each came.
        num_wrong: Answers that are not the offline ones.
    """

    seconds: float = 0.0
    latencies_s: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    num_wrong: int = 0

    @property
    def rows_per_second(self) -> float:
        return self.statuses[200] / self.seconds

    def summary(self) -> dict[str, Any]:
        p50, p95, p99 = np.percentile(self.latencies_s, [50, 95, 99])
        return {
            "rows_per_second": self.rows_per_second,
            "latency_s": {"p50": p50, "p95": p95, "p99": p99},
            "num_requests": len(self.latencies_s),
            "num_errors": sum(count for status, count in self.statuses.items() if status != 200),
            "num_wrong": self.num_wrong,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--superglue", type=Path, default=Path("../shared/data/superglue"))
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--layers", type=int, help="of the backbone; default: all")
    parser.add_argument("--soak", type=float, default=0.0, metavar="SECONDS")
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    result: dict[str, Any] = {}
    for work in (apart, instruction):
        with tempfile.TemporaryDirectory() as directory:
            result[work.__name__] = work(given, Path(directory))
        if given.output is not None:
            given.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result))


def apart(given: argparse.Namespace, directory: Path) -> dict[str, Any]:
    artifact = untrained(directory, "boolq", 512, given.layers)
    classifier = Classifier.from_pretrained(artifact, dtype=torch.float32)
    columns = [example.columns() for example in rows("boolq", given, given.rows)]
    texts = [item.text for item in classifier.encode(columns)]
    plain_template(artifact)
    return measure(artifact, texts, given, soak_s=given.soak)


def instruction(given: argparse.Namespace, directory: Path) -> dict[str, Any]:
    artifact = untrained(directory, "boolq", INSTRUCTION_TOKENS + ROW_TOKENS, given.layers)
    plain_template(artifact)
    classifier = Classifier.from_pretrained(artifact, dtype=torch.float32)
    fixed = cut(classifier, "".join(RULE.format(number) for number in range(60)), INSTRUCTION_TOKENS)
    passages = [example.fields["passage"] for example in rows("boolq", given, given.rows)]
    texts = [fixed + cut(classifier, passage, ROW_TOKENS) for passage in passages]
    return measure(artifact, texts, given)


def plain_template(artifact: Path) -> None:
    """Let the artifact read whole texts, as the plain server does."""
    path = artifact / "dhrd.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"input_template": "{{ input_text }}"}))


def measure(artifact: Path, texts: list[str], given: argparse.Namespace, soak_s: float = 0.0) -> dict[str, Any]:
    """Offline and served in turns, then the plain server on a part of the rows."""
    classifier = Classifier.from_pretrained(artifact, dtype=torch.float32)
    expected = classifier.predict_proba(texts[:16])  # warms up
    rates: dict[str, list[float]] = {"offline": [], "served": []}
    result: dict[str, Any] = {}
    with served(artifact) as (url, pid):
        asyncio.run(load(url, texts[:16], 16))
        for number in range(given.rounds):
            seconds, expected = timed(classifier.predict_proba, texts)
            rates["offline"].append(len(texts) / seconds)
            found = asyncio.run(load(url, texts, 64, expected))
            rates["served"].append(found.rows_per_second)
            say(f"round {number}: offline {rates['offline'][-1]:.2f}, served {rates['served'][-1]:.2f} rows/s")
        few = {1: len(texts) // 16, 8: len(texts) // 4}
        result["served"] = {"64": found.summary()} | {
            str(n): asyncio.run(load(url, texts[:count], n, expected)).summary() for n, count in few.items()
        }
        if soak_s:
            result["soak"] = soak(url, pid, texts, expected, soak_s)
    with plain(artifact) as url:
        asyncio.run(load(url, texts[:8], 8))
        few = {1: len(texts) // 16, 8: len(texts) // 8, 64: len(texts) // 4}
        result["plain"] = {str(n): asyncio.run(load(url, texts[:count], n)).summary() for n, count in few.items()}
    ratios = [ours / offline for ours, offline in zip(rates["served"], rates["offline"], strict=True)]
    return {
        "served_over_offline": spread(ratios).model_dump(),
        "served_over_plain": float(np.median(rates["served"])) / result["plain"]["64"]["rows_per_second"],
        "rows_per_second": {name: spread(values).model_dump() for name, values in rates.items()},
        **result,
        "num_layers": classifier.body.config.num_hidden_layers,
        "num_rows": len(texts),
        "mean_tokens": float(np.mean([len(item.input_ids) for item in classifier.encode(texts)])),
        "conditions": conditions(classifier.device, classifier.dtype).model_dump(),
    }


async def load(
    url: str,
    texts: Sequence[str],
    num_clients: int,
    expected: np.ndarray | None = None,
    *,
    seconds: float | None = None,
) -> Load:
    """Let clients send all rows once, or go on for some seconds.

    Args:
        url: Of the server.
        texts: One a request.
        num_clients: Each waits for its answer before it sends the next row.
        expected: Probabilities of each row; None: answers are not compared.
        seconds: None: each row once.
    """
    found, began = Load(), time.perf_counter()
    numbers = iter(range(len(texts))) if seconds is None else _until(began + seconds, len(texts))
    limits = httpx.Limits(max_connections=None)

    async def ask(client: httpx.AsyncClient) -> None:
        for number in numbers:
            start = time.perf_counter()
            response = await client.post(f"{url}/classify", json={"input": texts[number]})
            found.latencies_s.append(time.perf_counter() - start)
            found.statuses[response.status_code] += 1
            if expected is not None and response.status_code == 200:
                (row,) = response.json()["data"]
                found.num_wrong += not np.allclose(row["probs"], expected[number], atol=TOLERANCE)

    async with httpx.AsyncClient(timeout=600, limits=limits) as client:
        await asyncio.gather(*(ask(client) for _ in range(num_clients)))
    found.seconds = time.perf_counter() - began
    return found


def _until(end: float, count: int) -> Iterator[int]:
    number = 0
    while time.perf_counter() < end:
        yield number % count
        number += 1


def soak(url: str, pid: int, texts: list[str], expected: np.ndarray, seconds: float) -> dict[str, Any]:
    """Full load for some time; the server's memory meanwhile, and whether it grows in the second half."""
    process, memory = psutil.Process(pid), []

    async def watch() -> None:
        while True:
            memory.append(process.memory_info().rss)
            await asyncio.sleep(MEMORY_EVERY_S)

    async def run() -> Load:
        watching = asyncio.create_task(watch())
        found = await load(url, texts, 64, expected, seconds=seconds)
        watching.cancel()
        return found

    found = asyncio.run(run())
    half = memory[len(memory) // 2 :]
    say(f"soak of {found.seconds:.0f} s: {half[0] / 2**20:.0f} MiB at half time, {half[-1] / 2**20:.0f} MiB at the end")
    return {
        **found.summary(),
        "seconds": found.seconds,
        "memory_bytes": {"start": memory[0], "half": half[0], "end": half[-1], "most": max(memory)},
    }


@contextmanager
def served(artifact: Path) -> Iterator[tuple[str, int]]:
    """`dhrd serve` in a process of its own."""
    words = ["serve", "--model", str(artifact), "--port", "0", "--dtype", "float32", "--deadline", "600"]
    command = [sys.executable, "-c", "from dhrd.cli import main; main()", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        say(f"dhrd serve at {url}")
        yield url, process.pid
    finally:
        process.terminate()
        process.wait()


@contextmanager
def plain(artifact: Path) -> Iterator[str]:
    """The plain server in a process of its own."""
    port = 8765
    process = subprocess.Popen([sys.executable, "-c", PLAIN, str(artifact), str(port)])
    url = f"http://127.0.0.1:{port}"
    try:
        while True:
            try:
                httpx.get(f"{url}/health")
                break
            except httpx.ConnectError:
                time.sleep(0.5)
        say(f"plain server at {url}")
        yield url
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
