"""Commands killed while they write: a target is whole or as it was, and the next run of the command leaves it alone."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dhrd import run
from helpers import write_jsonl
from helpers_endpoint import FaultyEndpoint
from helpers_fork import ForkServer
from helpers_runs import make_config, read_jsonl, rows, run_forked
from helpers_server import serving

NUM_ROWS = 2000
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL)


@dataclass(frozen=True)
class Command:
    """A command, and what it leaves when nothing stops it.

    Args:
        arguments: Of `dhrd`.
        place: The directory that it writes to; what the test itself writes lies elsewhere.
        seconds: How long it takes.
        result: File below `place` -> whether its content is as it should be.
    """

    arguments: list[str]
    place: Path
    seconds: float
    names: frozenset[str]


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
        + ["--limit", "60", "--output", str(place / "o.jsonl")],
    }
    return [*command.split(), *given[command]]


def whole(path: Path) -> bool:
    """Whether a target holds all that it should."""
    if path.is_dir():
        return {"dhrd.json", "parity.json", "model.onnx", "config.json"} <= set(os.listdir(path))
    if path.suffix == ".json":
        return isinstance(json.loads(path.read_text(encoding="utf-8")), dict)
    return len(read_jsonl(path)) in (NUM_ROWS, 60)


STORE = {"o.answers.sqlite", "o.answers.sqlite-wal", "o.answers.sqlite-shm"}
"""Answers that were paid for stay."""


@pytest.mark.parametrize("command", ["predict", "evaluate", "rationales generate", "export"])
def test_killed_at_random_moments(
    fork_server: ForkServer,
    artifact: Path,
    endpoint: FaultyEndpoint,
    tmp_path: Path,
    command: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each signal at seeded moments within the command; then once to its end."""
    place, said = tmp_path / "place", tmp_path / "said"
    place.mkdir()
    said.mkdir()
    given = arguments(command, artifact, place, endpoint)
    began_s = time.monotonic()
    ended = run_forked(fork_server, said, *given)
    lasts_s = time.monotonic() - began_s
    assert ended.code == 0, ended.err
    names = {path.name for path in place.iterdir()}
    rng, num_killed = random.Random(command), 0
    for number in SIGNALS:
        clear(place)
        pid = fork_server.start(given, said / "out", said / "err")
        time.sleep(rng.uniform(0.3, 0.95) * lasts_s)
        os.kill(pid, number)
        code = fork_server.wait()
        num_killed += code != 0
        assert code in (0, 130, -number), (said / "err").read_text(encoding="utf-8")
        left = {path.name for path in place.iterdir()}
        temporary = {name for name in left if name.endswith(".partial")}
        assert len(temporary) <= (number == signal.SIGKILL)
        assert left - temporary <= names | STORE
        assert all(whole(place / name) for name in left - temporary - STORE)
        assert "Traceback" not in (said / "err").read_text(encoding="utf-8")
        assert run_forked(fork_server, said, *given).code == 0 or command == "export"
    assert num_killed >= 1  # on a busy machine a command may be done before a signal comes
    assert {path.name for path in place.iterdir()} == names


def clear(place: Path) -> None:
    for path in sorted(place.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


@pytest.mark.parametrize("command", ["predict", "evaluate", "rationales generate"])
def test_killed_in_place_of_the_replacement(
    fork_server: ForkServer, artifact: Path, endpoint: FaultyEndpoint, tmp_path: Path, command: str
) -> None:
    """The worst moment: all is written, nothing has its name yet. What was there before is as it was."""
    place, said = tmp_path / "place", tmp_path / "said"
    place.mkdir()
    said.mkdir()
    given = arguments(command, artifact, place, endpoint)
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
