"""Commands killed while they write: a target is whole or as it was, and the next run of the command leaves it alone."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dhrd.run import train as run
from helpers.endpoint import FaultyEndpoint, serving
from helpers.fork import ForkServer
from helpers.rows import write_jsonl
from helpers.runs import make_config, read_jsonl, rows, run_forked

NUM_ROWS = 200
NUM_ASKED = 40
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL)


@pytest.fixture(scope="module")
def artifact(tiny_backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, with many rows to predict beside it."""
    directory = tmp_path_factory.mktemp("artifact")
    run.train(make_config(tiny_backbone, directory, "training.num_epochs=1"), device="cpu")
    write_jsonl(directory / "many.jsonl", rows(NUM_ROWS))
    return directory / "out"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[FaultyEndpoint]:
    with serving(FaultyEndpoint()) as one:
        yield one


def arguments(command: str, artifact: Path, place: Path, endpoint: FaultyEndpoint) -> list[str]:
    many = str(artifact.parent / "many.jsonl")
    model = ["--model", str(artifact)]
    given = {
        "predict": [*model, "--input", many, "--output", str(place / "o.jsonl"), "--device", "cpu"],
        "evaluate": [*model, "--data", many, "--predictions", str(place / "o.jsonl"), "--json", str(place / "o.json")]
        + ["--device", "cpu"],
        "export": [*model, "--output", str(place / "onnx")],
        "rationales generate": ["--teacher", "openai:tiny", "--base-url", endpoint.url, "--data", many]
        + ["--limit", str(NUM_ASKED), "--output", str(place / "o.jsonl")],
    }
    return [*command.split(), *given[command]]


def whole(path: Path) -> bool:
    """Whether a target holds all that it should."""
    if path.is_dir():
        return {"dhrd.json", "parity.json", "model.onnx", "config.json"} <= set(os.listdir(path))
    if path.suffix == ".json":
        return isinstance(json.loads(path.read_text(encoding="utf-8")), dict)
    return len(read_jsonl(path)) in (NUM_ROWS, NUM_ASKED)


STORE = {"o.answers.sqlite", "o.answers.sqlite-wal", "o.answers.sqlite-shm"}
"""Answers that were paid for stay."""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where a command writes; what the test itself writes lies elsewhere."""
    (tmp_path / "said").mkdir()
    (tmp_path / "place").mkdir()
    return tmp_path / "place"


def check_left(place: Path, code: int, number: int) -> None:
    """What a signal may leave: whole files, the store, and of a SIGKILL one that says what it is."""
    err = (place.parent / "said" / "stderr.txt").read_text(encoding="utf-8")
    assert code in (130, -number), err
    assert "Traceback" not in err
    left = {path.name for path in place.iterdir()}
    temporary = {name for name in left if name.endswith(".partial")}
    assert len(temporary) <= (number == signal.SIGKILL)
    assert all(whole(place / name) for name in left - temporary - STORE)


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("command", ["predict", "evaluate", "rationales generate"])
def test_killed_while_writing(
    fork_server: ForkServer, artifact: Path, endpoint: FaultyEndpoint, place: Path, command: str, number: int
) -> None:
    """At a seeded row; then once to its end."""
    given, said = arguments(command, artifact, place, endpoint), place.parent / "said"
    moment = random.Random(f"{command} {number}").randint(1, NUM_ASKED)
    ended = run_forked(fork_server, said, *given, signal_at_write=(moment, number))
    check_left(place, ended.code, number)
    assert not (place / "o.jsonl").exists() or command == "evaluate"
    assert run_forked(fork_server, said, *given).code == 0
    assert not list(place.glob(".*"))
    assert all(whole(path) for path in place.iterdir() if path.name not in STORE)


@pytest.mark.parametrize("number", SIGNALS)
def test_an_export_killed(
    fork_server: ForkServer, artifact: Path, endpoint: FaultyEndpoint, place: Path, number: int
) -> None:
    """A moment after its temporary directory is there; then once to its end."""
    given, said = arguments("export", artifact, place, endpoint), place.parent / "said"
    pid = fork_server.start(given, said / "stdout.txt", said / "stderr.txt")
    deadline = time.monotonic() + 120
    while not list(place.iterdir()):
        assert time.monotonic() < deadline, (said / "stderr.txt").read_text(encoding="utf-8")
        time.sleep(0.001)
    time.sleep(random.Random(number).uniform(0, 0.5))
    os.kill(pid, number)
    code = fork_server.wait()
    if code != 0:  # on a slow machine it may be done before the signal comes
        check_left(place, code, number)
    given = [*given, "--overwrite"] if (place / "onnx").exists() else given
    assert run_forked(fork_server, said, *given).code == 0
    assert os.listdir(place) == ["onnx"]
    assert whole(place / "onnx")


@pytest.mark.parametrize("command", ["predict", "evaluate", "rationales generate"])
def test_killed_in_place_of_the_replacement(
    fork_server: ForkServer, artifact: Path, endpoint: FaultyEndpoint, place: Path, command: str
) -> None:
    """The worst moment: all is written, nothing has its name yet. What was there before is as it was."""
    given, said = arguments(command, artifact, place, endpoint), place.parent / "said"
    if command != "rationales generate":  # that one replaces nothing that it did not write
        (place / "o.jsonl").write_text("yesterday\n")
    before = {path.name: path.read_bytes() for path in place.iterdir()}
    assert run_forked(fork_server, said, *given, kill_at_replace=1).code == -signal.SIGKILL
    left = {path.name: path for path in place.iterdir()}
    temporary = [name for name in left if name.endswith(".partial")]
    assert len(temporary) == 1
    assert {name: left[name].read_bytes() for name in before} == before
    assert run_forked(fork_server, said, *given).code == 0
    assert not list(place.glob(".*"))
    assert all(whole(path) for path in place.iterdir() if path.name not in STORE)


@pytest.mark.parametrize(("name", "writes"), [("o.jsonl", 2049), ("o.parquet", 2)])
def test_a_long_job_is_gone_on_with(
    fork_server: ForkServer, artifact: Path, place: Path, name: str, writes: int
) -> None:
    """Windows of a real model, of so many writes each; killed in the third, then in the next, the file is whole."""
    many = write_jsonl(place.parent / "in.jsonl", [{"input_text": f"case {n} {'of ' * (n % 9)}"} for n in range(9000)])
    given = ["predict", "--model", str(artifact), "--input", str(many), "--device", "cpu", "--output"]
    said, draw = place.parent / "said", random.Random(name)
    assert run_forked(fork_server, said, *given, str(place / f"whole-{name}")).code == 0
    given = [*given, str(place / name), "--resume"]
    for moment in (3 + 2 * writes, writes):  # a run that begins writes thrice before its first window
        moment += draw.randint(1, writes)
        ended = run_forked(fork_server, said, *given, signal_at_write=(moment, signal.SIGKILL))
        assert ended.code == -signal.SIGKILL, ended.err
        assert not (place / name).exists()
    ended = run_forked(fork_server, said, *given)
    num_resumed = re.search(r"; (\d+) of them are from the previous run", ended.out)
    assert num_resumed is not None and int(num_resumed[1]) == 3 * 2048, ended
    assert (place / name).read_bytes() == (place / f"whole-{name}").read_bytes()
    assert sorted(os.listdir(place)) == sorted([name, f"whole-{name}"])
