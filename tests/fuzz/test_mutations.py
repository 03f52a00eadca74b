"""Damaged files of every kind: no traceback, no hang, no exit code but 0, 1, 2, 3 and 130.

Small as a part of the tests, large by `make fuzz`; both draw the same inputs each time.
"""

from __future__ import annotations

import csv
import io
import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import FrameType
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.artifacts import predict, save_tiny
from helpers.mutations import damaged
from helpers.rows import write_jsonl
from helpers.runs import Ended, Stop, flags, make_config, rows, run_here
from helpers.teacher import GOOD

Capsys = pytest.CaptureFixture[str]

_SHARES = {"artifact": 5, "reasoner": 1, "config": 6, "rows": 6, "checkpoint": 1, "teacher": 1}
_NUM_INPUTS = int(os.environ.get("DHRD_FUZZ", "200"))  # in all
_SECONDS = 60  # of one input; the slowest needs 2


def fuzz(kind: str, **strategies: Any) -> Callable[[Any], Any]:
    """Give a test its share of the inputs, the same each time."""
    count = max(1, _NUM_INPUTS * _SHARES[kind] // sum(_SHARES.values()))
    bounded = settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=True,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
    return lambda test: bounded(given(**strategies)(test))


@contextmanager
def bounded_time() -> Iterator[None]:
    """Interrupt what hangs."""
    hangs = []

    def stop(number: int, frame: FrameType | None) -> None:
        hangs.append(frame)
        raise KeyboardInterrupt  # nothing may catch it but the command line itself

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        assert not hangs, f"it did not end within {_SECONDS} seconds"


def check(run: Callable[[], Ended]) -> Ended:
    """Whatever is not caught by the command line fails the test by itself."""
    with bounded_time():
        ended = run()
    assert ended.code in (0, 1, 2, 3, 130), ended.err
    assert "Traceback" not in ended.err
    if ended.code:
        assert max(map(len, ended.err.splitlines()), default=0) < 1000
    return ended


ARTIFACT_FILES = (
    "dhrd.json", "config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "model.safetensors",
    "run.json",
)  # fmt: skip


@contextmanager
def replaced(path: Path, content: bytes) -> Iterator[None]:
    """A file with other content, as it was afterwards."""
    before = path.read_bytes() if path.exists() else None
    path.write_bytes(content)
    try:
        yield
    finally:
        path.unlink()
        if before is not None:
            path.write_bytes(before)


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = save_tiny(tmp_path_factory.mktemp("fuzz") / "artifact")
    manifest = json.loads((directory / "dhrd.json").read_text())
    (directory / "dhrd.json").write_text(json.dumps(manifest | {"chat": True}))
    (directory / "run.json").write_text(json.dumps({"config": {"data": {"columns": {"input_text": "text"}}}}))
    (directory / "generation_config.json").write_text(json.dumps({"eos_token_id": 261, "top_k": 5, "do_sample": True}))
    return directory


@fuzz("artifact", name=st.sampled_from(ARTIFACT_FILES), data=st.data())
def test_a_damaged_artifact(capsys: Capsys, artifact: Path, name: str, data: Any) -> None:
    """Any file of it, given to `dhrd predict`."""
    content = data.draw(damaged((artifact / name).read_bytes()))
    table = write_jsonl(artifact.with_name("rows.jsonl"), [{"text": "case 1", "input_text": "case 1"}])
    with replaced(artifact / name, content):
        check(lambda: predict(capsys, artifact, table))


@fuzz("reasoner", name=st.sampled_from(("generation_config.json", "dhrd.json", "config.json")), data=st.data())
def test_a_damaged_reasoner(capsys: Capsys, artifact: Path, name: str, data: Any) -> None:
    """What decoding reads, given to `dhrd evaluate --mode cot`."""
    content = data.draw(damaged((artifact / name).read_bytes()))
    table = write_jsonl(artifact.with_name("labelled.jsonl"), [{"text": "case 1", "label": "bill"}])
    asked = "--data", table, "--model", artifact, "--device", "cpu", "--max-new-tokens", "2"
    with replaced(artifact / name, content):
        check(lambda: run_here(capsys, "evaluate", "--mode", "cot", *asked))


CONFIG = {
    "model": {"name_or_path": "gpt2", "lora": {"r": 4, "target_modules": ["q_proj"]}, "pooling": "mean"},
    "data": {"train": "a.jsonl", "labels": ["a", "b"], "columns": {"input_text": "text"}, "input_template": "{{ a }}"},
    "loss": {"class_weights": {"a": 1.0}},
    "training": {"learning_rate": 5e-5, "patience": 2, "metric": "accuracy"},
    "teacher": {"name": "openai:x", "max_cost": 1.0, "input_price": 1.0, "output_price": 2.0},
    "tracking": {"uri": "file:./runs"},
    "seed": 1,
    "output_dir": "out",
}


@fuzz("config", content=st.one_of(damaged(json.dumps(CONFIG).encode()), damaged(yaml.safe_dump(CONFIG).encode())))
def test_a_damaged_config(capsys: Capsys, artifact: Path, content: bytes) -> None:
    """YAML, and JSON, which is YAML too."""
    path = artifact.with_name("config.yaml")
    path.write_bytes(content)
    check(lambda: run_here(capsys, "config", "show", "--config", path))


TABLE = [
    {"id": "r1", "input_text": "case 1: keep", "label": "keep", "rationale": "It says so.", "group": "a"},
    {"id": "r2", "input_text": "case 2: return", "label": "return", "rationale": None, "group": "b"},
]


def as_csv() -> bytes:
    file = io.StringIO()
    writer = csv.DictWriter(file, TABLE[0])
    writer.writeheader()
    writer.writerows(TABLE)
    return file.getvalue().encode()


def as_parquet(table: list[dict[str, Any]]) -> bytes:
    file = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(table), file)
    return file.getvalue()


LINES = [json.dumps(row).encode() for row in TABLE]
FORMATS: dict[str, st.SearchStrategy[bytes]] = {
    "jsonl": st.tuples(*map(damaged, LINES)).map(b"\n".join),
    "json": damaged(json.dumps(TABLE).encode()),
    "csv": damaged(as_csv()),
    "parquet": damaged(as_parquet(TABLE)),
}


@fuzz("rows", suffix=st.sampled_from(sorted(FORMATS)), data=st.data())
def test_damaged_rows(capsys: Capsys, artifact: Path, suffix: str, data: Any) -> None:
    """Rows of every format, with labels and rationales, as `dhrd rationales audit` reads them."""
    path = artifact.with_name(f"table.{suffix}")
    path.write_bytes(data.draw(FORMATS[suffix]))
    check(lambda: run_here(capsys, "rationales", "audit", "--data", path))


@pytest.fixture(scope="module")
def stopped(tiny_backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that ended after its first checkpoint."""
    import dhrd
    from helpers.runs import Recorder

    directory = tmp_path_factory.mktemp("stopped")
    config = make_config(tiny_backbone, directory, "training.save_steps=1", "training.batch_size=10")
    with pytest.raises(Stop):
        dhrd.train(config, device="cpu", callbacks=[Recorder(fail_at=2)])
    return directory / "out"


@fuzz("checkpoint", data=st.data())
def test_a_damaged_checkpoint(capsys: Capsys, stopped: Path, data: Any) -> None:
    """Any file of it, with which `dhrd train --checkpoint` is to go on; the tracked settings name no number."""
    files = sorted(path for path in stopped.rglob("*") if path.is_file())
    path = data.draw(st.sampled_from(files))
    kept = {one: one.read_bytes() for one in files}
    path.write_bytes(data.draw(damaged(kept[path])))
    try:
        check(lambda: run_here(capsys, "train", "--checkpoint", stopped, "--device", "cpu"))
    finally:
        for one in [one for one in stopped.rglob("*") if one.is_file()]:
            one.unlink()
        for one, content in kept.items():
            one.parent.mkdir(parents=True, exist_ok=True)
            one.write_bytes(content)


BODY = {
    "id": "x",
    "object": "chat.completion",
    "created": 1,
    "model": "tiny",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": GOOD}}],
    "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
}


class _Endpoint(BaseHTTPRequestHandler):
    body = b""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Endpoint)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    server.shutdown()


@fuzz("teacher", body=damaged(json.dumps(BODY).encode()))
def test_a_damaged_answer_of_a_teacher(
    capsys: Capsys, artifact: Path, endpoint: str, monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    """A body of an endpoint, as `dhrd rationales generate` reads it, and then what was stored of it, read again."""
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    _Endpoint.body = body
    directory = artifact.with_name("taught")
    directory.mkdir(exist_ok=True)
    for path in directory.iterdir():
        path.unlink()
    data = write_jsonl(artifact.with_name("cases.jsonl"), rows(2, labels=("keep", "return"), reasoned=0))
    given = "--data", data, "--output", directory / "out.jsonl", "--teacher", "openai:tiny", "--base-url", endpoint
    for _ in range(2):
        check(
            lambda: run_here(
                capsys, "rationales", "generate", *given, "--max-retries", "0", "--attempts", "1",
                *flags(["data.labels=[keep, return]"]),
            )
        )  # fmt: skip


def test_the_inputs_are_odd(artifact: Path) -> None:
    """The control: what is drawn differs from the file, and most of it is refused or ignored, not all the same."""
    drawn: list[bytes] = []

    @settings(max_examples=30, database=None, derandomize=True, deadline=None)
    @given(content=damaged((artifact / "dhrd.json").read_bytes()))
    def draw(content: bytes) -> None:
        drawn.append(content)

    draw()
    assert len(set(drawn)) > 20
