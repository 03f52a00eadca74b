"""`dhrd serve` as a process: flags, key, signals, and logs without a text of a row."""

from __future__ import annotations

import inspect
import json
import re
import shlex
import shutil
import signal
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import pytest

from dhrd.cli.serve import serve
from dhrd.serving.limits import Limits
from helpers.artifacts import change, save_tiny
from helpers.fork import ForkServer
from helpers.runs import run_here
from helpers.serving import Command, httpx, serve_forked

SECRET = "the customer's own words"


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("serve") / "tiny")


def classify(client: httpx.Client, text: str) -> int:
    try:
        return client.post("/classify", json={"input": [f"{text} {n}" for n in range(20)]}).status_code
    except httpx.ConnectError:  # the server is gone already
        return 0


def client_of(server: Command) -> httpx.Client:
    """A connection a request: one that is kept may be closed just when the next request is sent."""
    return httpx.Client(base_url=server.url, headers={"Connection": "close"}, timeout=60)


def test_the_defaults_are_those_of_the_library_and_of_the_docs(repository: Path) -> None:
    """They stand in the command, too, since it must be shown without importing torch."""
    given = {name: parameter.default for name, parameter in inspect.signature(serve).parameters.items()}
    text = (repository / "docs" / "serving.md").read_text(encoding="utf-8")
    for name, value in asdict(Limits()).items():
        assert given[name] == value
        row = next(
            line for line in text.splitlines() if line.startswith(f"| `--{name.removesuffix('_s').replace('_', '-')}`")
        )
        told = row.split("|")[2].strip().replace(",", "")
        assert told == (f"{value >> 20} MiB" if name == "max_bytes" else f"{value:g}")


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl")
def test_the_commands_of_the_page_are_answered(
    fork_server: ForkServer, artifact: Path, tmp_path: Path, repository: Path
) -> None:
    text = (repository / "docs" / "serving.md").read_text(encoding="utf-8")
    install, ask, *_ = [block.replace("\\\n", "") for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL)]
    assert install.splitlines()[1].split("#")[0].split() == ["dhrd", "serve", "--model", "output"]
    model = shutil.copytree(artifact, tmp_path / "output")
    change(model / "dhrd.json", input_template="{{ premise }} {{ hypothesis }}")
    server = serve_forked(fork_server, model, tmp_path)
    words = shlex.split(ask.replace("localhost:8000", server.url))
    done = subprocess.run([*words, "--silent", "--show-error"], capture_output=True, text=True, timeout=60)
    (row,) = json.loads(done.stdout)["data"]
    assert row["label"] in ("bill", "login", "mail") and not row["truncated"]
    assert server.ended(signal.SIGTERM) == 0


def test_flags_key_and_logs(fork_server: ForkServer, artifact: Path, tmp_path: Path) -> None:
    flags = ("--name", "returns", "--max-rows", 20, "--max_explained_rows", 0)
    server = serve_forked(fork_server, artifact, tmp_path, *flags, DHRD_API_KEY="k")
    with client_of(server) as client:
        assert classify(client, SECRET) == 401
        client.headers["Authorization"] = "Bearer k"
        info = client.get("/info").json()
        assert (info["model"], info["limits"]["max_rows"], info["explains"]) == ("returns", 20, False)
        assert client.post("/classify", json={"input": [SECRET] * 20}).status_code == 200
        assert client.post("/classify", json={"input": [SECRET] * 21}).status_code == 413
        broken = client.post("/classify", content=f'{{"input": "{SECRET}', headers={"Content-Type": "application/json"})
        assert broken.status_code == 400
        assert client.get(f"/{SECRET}?{SECRET}").status_code == 404
    assert server.ended(signal.SIGTERM) == 0
    log = server.log.read_text(encoding="utf-8")
    assert "/classify 200" in log and "all accepted requests were answered" in log
    assert "customer" not in log and "words" not in log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_under_load_leaves_no_accepted_request_without_an_answer(
    fork_server: ForkServer, artifact: Path, tmp_path: Path, number: signal.Signals
) -> None:
    server = serve_forked(fork_server, artifact, tmp_path)
    is_over, answered = threading.Event(), threading.Semaphore(0)

    def ask(worker: int) -> list[int]:
        statuses: list[int] = []
        with client_of(server) as client:
            while not is_over.is_set() and not {0, 503} & {*statuses}:  # then a client goes to another server
                statuses.append(classify(client, f"worker {worker}"))
                answered.release()
        return statuses

    with ThreadPoolExecutor(8) as pool:
        work = [pool.submit(ask, worker) for worker in range(8)]
        assert all(answered.acquire(timeout=60) for _ in range(40))
        assert server.ended(number) == 0
        is_over.set()
        statuses = [status for future in work for status in future.result()]  # raises where an answer was cut off
    assert statuses.count(200) > 8 and 503 in statuses and {*statuses} <= {200, 503, 0}


def test_after_a_kill_it_starts_again_on_the_same_port(fork_server: ForkServer, artifact: Path, tmp_path: Path) -> None:
    first = serve_forked(fork_server, artifact, tmp_path)
    with client_of(first) as client:
        assert classify(client, "a") == 200
    assert first.ended(signal.SIGKILL) == -signal.SIGKILL
    second = serve_forked(fork_server, artifact, tmp_path, "--port", first.url.rpartition(":")[2])
    with client_of(second) as client:
        assert (second.url, classify(client, "a")) == (first.url, 200)
    assert second.ended(signal.SIGTERM) == 0


def test_who_overwrites_the_artifact_in_place_changes_no_answer(
    fork_server: ForkServer, artifact: Path, tmp_path: Path
) -> None:
    model = shutil.copytree(artifact, tmp_path / "model")
    server = serve_forked(fork_server, model, tmp_path)
    body = {"input": ["the parcel is late", "lost key"]}
    with client_of(server) as client:
        before = client.post("/classify", json=body).json()["data"]
        for damage in (b"\xff" * 20_000, b""):  # other bytes, then none
            with (model / "model.safetensors").open("r+b") as file:
                file.seek(-len(damage) or 0, 2 if damage else 0)
                file.write(damage) if damage else file.truncate(10)
            assert client.post("/classify", json=body).json()["data"] == before
        shutil.rmtree(model)
        assert client.post("/classify", json=body).json()["data"] == before
        assert client.post("/v1/explain", json=body).status_code == 503
    assert server.ended(signal.SIGTERM) == 0


def test_what_cannot_be_served_is_said_in_one_line(
    artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = run_here(capsys, "serve", "--model", tmp_path / "none", "--port", 0)
    assert (ended.code, len(ended.error_lines)) == (2, 1) and "no such directory" in ended.error_lines[0]
    ended = run_here(capsys, "serve", "--model", artifact, "--host", "203.0.113.9")
    assert (ended.code, len(ended.error_lines)) == (2, 1) and "203.0.113.9" in ended.error_lines[0]
