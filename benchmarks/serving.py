"""How fast `dhrd serve` answers many clients: against the classifier without HTTP, a plain server, and vLLM's.

    python benchmarks/serving.py apart       [--vllm URL] [--rows 128] [--rounds 3] [--layers N] [--output FILE]
    python benchmarks/serving.py instruction [the same]
    python benchmarks/serving.py soak        [--seconds 1200] [--rows 128] [--layers N] [--output FILE]

SmolLM2-135M with an untrained head (its speed is that of a trained one), fp32; with --layers its first layers alone,
for slow machines: HTTP and the forming of batches weigh more then. Each client sends one row, waits for its
answer and sends the next, over loopback; clients and servers share the machine's cores.

apart        BoolQ rows, which share nothing.
instruction  rows of 60 tokens after one instruction of 600.
soak         both kinds, at full load until the server has had some processor time (it may be stopped meanwhile),
             while its memory is read; an interrupt ends it with what was seen.

In each round, one after the other on the same rows: `Classifier.predict_proba` in a process that does nothing else; 64
clients of `dhrd serve`; 64 of a FastAPI application around transformers' pipeline, as it is usually written (half of
the rows, as it is slow); 64 of vLLM's server, where one runs. Ratios are of one round. Then latencies of 1 and 8
clients. No row comes twice, since who keeps prefixes would find the whole of it. Every answer is compared with the
offline one.

vLLM's server has to run already, on this machine and on the artifact that --artifact DIR leaves behind; its workers
stand still in the others' turns, since they wait for work by spinning. Start it anew for each run: it keeps prefixes.

    python benchmarks/serving.py apart --artifact DIR --rows 0
    export OMP_NUM_THREADS=2 VLLM_CPU_OMP_THREADS_BIND=0-1  # both cores: by default vLLM leaves one free
    export VLLM_CPU_KVCACHE_SPACE=4  # GiB: by default most of the memory
    vllm serve DIR --runner pooling --dtype float32 --enable-prefix-caching --max-model-len 700 --port 8001

Predicted: 0.9 of the offline rate, since a batch holds the rows of 64 clients instead of thousands; the instruction is
computed once, in both. 3 times the plain server's rate where rows share nothing, more where they do. Beside vLLM's as
offline: behind where rows share nothing, ahead where they do.

Prints what is being run, and one JSON line last; with --output also into that file, under the name of the work.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import psutil
import torch
from inference import INSTRUCTION_TOKENS, ROW_TOKENS, RULE, cut, rows, say, untrained

from dhrd.benchmark.machine import conditions
from dhrd.benchmark.measure import spread, timed
from dhrd.data.superglue import TASKS
from dhrd.inference.classifier import Classifier
from dhrd.inference.vllm import awake

WARM_UP = 64  # rows
MAX_TOKENS = INSTRUCTION_TOKENS + ROW_TOKENS + 16  # where two texts meet they may have other tokens than apart
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
    parser.add_argument("work", choices=("apart", "instruction", "soak"))
    parser.add_argument("--superglue", type=Path, default=Path("../shared/data/superglue"))
    parser.add_argument("--rows", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--layers", type=int, help="of the backbone; default: all")
    parser.add_argument("--seconds", type=float, default=1200.0, help="of the soak: the server's processor time")
    parser.add_argument("--artifact", type=Path, help="where it is, or is made; default: nowhere that stays")
    parser.add_argument("--vllm", metavar="URL", help="of vLLM's server, on the same artifact")
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        artifact = given.artifact or Path(directory)
        if not (artifact / "dhrd.json").exists():
            untrained(artifact, "boolq", MAX_TOKENS, given.layers)
            plain_template(artifact)
        classifier = Classifier.from_pretrained(artifact, dtype=torch.float32)
        works = {"apart": (apart,), "instruction": (instruction,), "soak": (apart, instruction)}[given.work]
        texts = [text for work in works for text in work(classifier, given)] if given.rows else []
        result = (soak if given.work == "soak" else measure)(artifact, classifier, texts, given) if texts else {}
    if given.output is not None:
        known = json.loads(given.output.read_text()) if given.output.exists() else {}
        given.output.write_text(json.dumps(known | {given.work: result}, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result))


def apart(classifier: Classifier, given: argparse.Namespace) -> list[str]:
    whole = INSTRUCTION_TOKENS + ROW_TOKENS
    passages = [f"{e.fields['passage']}\n{e.fields['question']}" for e in rows("boolq", given, num_rows(given))]
    return [cut(classifier, passage, whole) for passage in passages]


def instruction(classifier: Classifier, given: argparse.Namespace) -> list[str]:
    fixed = cut(classifier, "".join(RULE.format(number) for number in range(60)), INSTRUCTION_TOKENS)
    passages = [example.fields["passage"] for example in rows("boolq", given, num_rows(given))]
    return [fixed + cut(classifier, passage, ROW_TOKENS) for passage in passages]


def num_rows(given: argparse.Namespace) -> int:
    """That a work needs: none twice in a run, but for the soak."""
    return given.rows if given.work == "soak" else given.rows * (given.rounds + 1) + WARM_UP


def plain_template(artifact: Path) -> None:
    """Let the artifact read whole texts, as the other servers do."""
    path = artifact / "dhrd.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"input_template": "{{ input_text }}"}))


def measure(artifact: Path, classifier: Classifier, texts: list[str], given: argparse.Namespace) -> dict[str, Any]:
    """Offline and the servers in turns, then latencies of 1 and 8 clients; each on rows of their own."""
    rates: dict[str, list[float]] = defaultdict(list)
    found: dict[str, dict[int, Load]] = defaultdict(dict)
    parts = iter(parts_of(texts, given))
    with served(artifact) as (url, _), plain(artifact) as plain_url:
        servers = {"served": url, "plain": plain_url} | ({"vllm": given.vllm} if given.vllm else {})
        some = next(parts)
        classifier.predict_proba(some)  # warms up, as the next lines do
        turns = {name: turn_of(server) if name == "vllm" else nullcontext for name, server in servers.items()}
        for name, server in servers.items():
            with turns[name]():
                asyncio.run(load(server, some, 16))
        for number in range(given.rounds):
            some = next(parts)
            seconds, expected = timed(classifier.predict_proba, some)
            rates["offline"].append(len(some) / seconds)
            for name, server in servers.items():
                its = some[: len(some) // 2] if name == "plain" else some
                with turns[name]():
                    found[name][64] = asyncio.run(load(server, its, 64, expected))
                rates[name].append(found[name][64].rows_per_second)
            say(f"round {number}: " + ", ".join(f"{name} {rate[-1]:.2f}" for name, rate in rates.items()) + " rows/s")
        for clients, some in zip((1, 8), parts, strict=True):
            expected = classifier.predict_proba(some)
            for name, server in servers.items():
                with turns[name]():
                    found[name][clients] = asyncio.run(load(server, some, clients, expected))
    ours = rates["served"]
    over = {name: [a / b for a, b in zip(ours, rates[name], strict=True)] for name in rates if name != "served"}
    return {
        "served_over": {name: spread(ratios).model_dump() for name, ratios in over.items()},
        "rows_per_second": {name: spread(values).model_dump() for name, values in rates.items()},
        **{name: {str(n): seen.summary() for n, seen in sorted(loads.items())} for name, loads in found.items()},
        **told(classifier, texts),
    }


def turn_of(url: str) -> Callable[[], AbstractContextManager[None]]:
    """What vLLM's server at a port of this machine does its work in."""
    port = urlsplit(url).port
    listening = (one for one in psutil.net_connections("tcp") if one.status == psutil.CONN_LISTEN)
    return partial(awake, next(one.pid for one in listening if one.laddr.port == port))


def parts_of(texts: list[str], given: argparse.Namespace) -> list[list[str]]:
    """To warm up, for each round, for 1 and for 8 clients."""
    ends = np.cumsum([WARM_UP, *[given.rows] * given.rounds, given.rows // 8, given.rows // 2]).tolist()
    return [texts[start:end] for start, end in pairwise([0, *ends])]


def told(classifier: Classifier, texts: list[str]) -> dict[str, Any]:
    return {
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
    goes_on: Callable[[], bool] | None = None,
) -> Load:
    """Let clients send all rows once, or again and again.

    Args:
        url: Of the server.
        texts: One a request.
        num_clients: Each waits for its answer before it sends the next row.
        expected: Probabilities of each row; None: answers are not compared.
        goes_on: Asked before each row; None: each row once.
    """
    found, began = Load(), time.perf_counter()
    numbers = iter(range(len(texts))) if goes_on is None else _while(goes_on, len(texts))
    limits = httpx.Limits(max_connections=None)

    async def ask(client: httpx.AsyncClient) -> None:
        for number in numbers:
            start = time.perf_counter()
            response = await client.post(f"{url}/classify", json={"input": texts[number]})
            found.latencies_s.append(time.perf_counter() - start)
            found.statuses[response.status_code] += 1
            if expected is not None and response.status_code == 200:
                found.num_wrong += not np.allclose(probabilities(response.json()), expected[number], atol=TOLERANCE)

    async with httpx.AsyncClient(timeout=3600, limits=limits) as client:
        await asyncio.gather(*(ask(client) for _ in range(num_clients)))
    found.seconds = time.perf_counter() - began
    return found


def _while(goes_on: Callable[[], bool], count: int) -> Iterator[int]:
    number = 0
    while goes_on():
        yield number % count
        number += 1


def probabilities(answer: Any) -> list[float]:
    """Of the shapes that the servers have: vLLM's, and the pipeline's."""
    if isinstance(answer, dict):
        return answer["data"][0]["probs"]
    entries = answer[0] if isinstance(answer[0], list) else answer
    return [entry["score"] for entry in sorted(entries, key=lambda entry: TASKS["boolq"].labels.index(entry["label"]))]


def processor_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def soak(artifact: Path, classifier: Classifier, texts: list[str], given: argparse.Namespace) -> dict[str, Any]:
    """Full load for some time; the server's memory meanwhile, and whether it grows in the second half."""
    memory: list[int] = []
    expected = classifier.predict_proba(texts)

    async def watch(process: psutil.Process) -> None:
        while True:
            memory.append(process.memory_info().rss)
            await asyncio.sleep(MEMORY_EVERY_S)

    async def run(url: str, process: psutil.Process) -> Load:
        await load(url, texts, 64)
        watching, end = asyncio.create_task(watch(process)), processor_s(process) + given.seconds
        enough = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, enough.set)
        found = await load(url, texts, 64, expected, goes_on=lambda: not enough.is_set() and processor_s(process) < end)
        watching.cancel()
        return found

    with served(artifact) as (url, pid):
        process = psutil.Process(pid)
        found = asyncio.run(run(url, process))
        seconds = processor_s(process)
    half = memory[len(memory) // 2 :]
    say(f"soak of {found.seconds:.0f} s: {half[0] / 2**20:.0f} MiB at half time, {half[-1] / 2**20:.0f} MiB at the end")
    return {
        **found.summary(),
        "seconds": found.seconds,
        "processor_seconds": seconds,
        "memory_bytes": {"start": memory[0], "half": half[0], "end": half[-1], "most": max(memory)},
        **told(classifier, texts),
    }


@contextmanager
def served(artifact: Path) -> Iterator[tuple[str, int]]:
    """`dhrd serve` in a process of its own."""
    words = ["serve", "--model", str(artifact), "--port", "0", "--dtype", "float32", "--deadline", "3600"]
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
