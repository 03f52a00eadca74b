"""Runs through the real path: a tiny random backbone on disk, rows in files, the command line here or in a child."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import typer.main
from transformers import LlamaConfig, LlamaForCausalLM

from dhrd.cli import app, main
from dhrd.config import RunConfig, load_config
from helpers.fork import ForkServer
from helpers.rows import make_tokenizer, write_jsonl

torch.set_num_threads(1)

LABELS = ("keep", "return", "repair")


def save_backbone(directory: Path, **tokenizer: Any) -> Path:
    """A random llama of a few thousand weights, with its tokenizer, as `from_pretrained` reads them.

    Args:
        directory: Where to save it.
        **tokenizer: Arguments of `make_tokenizer`.
    """
    tokens = make_tokenizer(**tokenizer)
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=len(tokens),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokens.eos_token_id,
        pad_token_id=tokens.pad_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(directory)
    tokens.save_pretrained(directory)
    return directory


def rows(count: int, *, labels: Sequence[str] = LABELS, reasoned: float = 0.75) -> list[dict[str, Any]]:
    """Rows whose label a tiny model can learn: it is a word of the text. Every so many lack a rationale."""
    result = []
    for number in range(count):
        label = labels[number % len(labels)]
        row = {
            "id": f"r{number}",
            "input_text": f"case {number * 7 % 50}: {label} " + "x" * (number % 5),
            "label": label,
        }
        if (number * 5 % 8) / 8 < reasoned:
            row["rationale"] = f"it says so in case {number}"
        result.append(row)
    return result


def write_rows(directory: Path, num_train: int = 20, num_validation: int = 9, **settings: Any) -> tuple[Path, Path]:
    """train.jsonl and validation.jsonl in a directory."""
    directory.mkdir(parents=True, exist_ok=True)
    train = write_jsonl(directory / "train.jsonl", rows(num_train, **settings))
    return train, write_jsonl(directory / "validation.jsonl", rows(num_train + num_validation, **settings)[num_train:])


def settings(backbone: Path, directory: Path, *overrides: str) -> list[str]:
    """`section.key=value` of a short run in fp32 on the files of `write_rows(directory)`, written to `out`."""
    return [
        f"model.name_or_path={backbone}",
        f"data.train={directory / 'train.jsonl'}",
        f"data.validation={directory / 'validation.jsonl'}",
        "training.mixed_precision=no",
        "training.num_epochs=2",
        f"output_dir={directory / 'out'}",
        *overrides,
    ]


def make_config(backbone: Path, directory: Path, *overrides: str) -> RunConfig:
    """The same as a `RunConfig`; writes the files."""
    write_rows(directory)
    return load_config(overrides=settings(backbone, directory, *overrides))


def flags(overrides: Sequence[str]) -> list[str]:
    """Settings as `--set` flags."""
    return [part for one in overrides for part in ("--set", one)]


class Recorder:
    """A tracker that keeps what it is told.

    Args:
        fail_at: Raise `Stop` when this step is logged: the run ends as if something broke.
    """

    def __init__(self, fail_at: int | None = None) -> None:
        self.rows: list[dict[str, float]] = []
        self.ended: list[Any] = []
        self._fail_at = fail_at

    def log(self, values: Mapping[str, float], step: int) -> None:
        self.rows.append({"step": step, **values})
        if step == self._fail_at:
            raise Stop

    def state(self) -> dict[str, str]:
        return {}

    def finish(self, artifact: Path | None) -> None:
        self.ended.append(artifact)

    def abort(self, status: str) -> None:
        self.ended.append(status)

    def steps(self, key: str) -> list[int]:
        """The steps at which a value was logged."""
        return [int(row["step"]) for row in self.rows if key in row]


class Stop(Exception):
    """Ends a run in the middle."""


@contextmanager
def stopping(place: Any, name: str, path: Path) -> Iterator[None]:
    """Stop in place of a call of a function, an attribute of `place`, whose first argument is this path."""
    function = getattr(place, name)

    def stopped(first: Path, *arguments: Any, **more: Any) -> Any:
        if Path(first) == path:
            raise Stop
        return function(first, *arguments, **more)

    with patch.object(place, name, stopped):
        yield


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def error_lines(self) -> list[str]:
        """What stderr holds from the error on."""
        lines = self.err.splitlines()
        starts = [number for number, line in enumerate(lines) if line.startswith("dhrd: error:")]
        return lines[starts[0] :] if starts else []


def run_here(capsys: Any, *arguments: object) -> Ended:
    """`dhrd …` in this process."""
    capsys.readouterr()
    code = 0
    with _logging_undone(), patch("dhrd.cli.app", _app()):
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        out, err = capsys.readouterr()
    return Ended(code, out, err)


@cache
def _app() -> Any:
    """The command line, put together once: that takes longer than most commands that are refused."""
    return typer.main.get_command(app)


@contextmanager
def _logging_undone() -> Iterator[None]:
    """The command line's handler writes to the stderr of its moment, which is another one in the next test."""
    logger = logging.getLogger("dhrd")
    before = logger.handlers[:], logger.propagate, logger.level
    logger.handlers.clear()
    try:
        yield
    finally:
        logger.handlers[:], logger.propagate, level = before
        logger.setLevel(level)


def run_forked(server: ForkServer, directory: Path, *arguments: object, **request: Any) -> Ended:
    """`dhrd …` in a child of the fork server; `request` as in `ForkServer.start`."""
    out, err = directory / "stdout.txt", directory / "stderr.txt"
    server.start([str(argument) for argument in arguments], out, err, **request)
    return Ended(server.wait(), out.read_text(encoding="utf-8"), err.read_text(encoding="utf-8"))


def environment(**more: str) -> dict[str, str]:
    """For a process of its own: one thread, no network, wide tables."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "COLUMNS": "200", **more}


COMMAND = str(Path(sys.executable).with_name("dhrd"))


def run_apart(*arguments: object, **options: Any) -> Ended:
    """The installed command `dhrd …`."""
    command = [COMMAND, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=300, **options)
    return Ended(done.returncode, done.stdout, done.stderr)


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSONL file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
