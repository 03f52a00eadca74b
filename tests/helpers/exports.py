"""Tiny artifacts, exported by the command line and loaded again beside what they were made from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from dhrd import Classifier
from dhrd.artifact.info import ArtifactInfo
from dhrd.artifact.write import kind_of, save_artifact
from dhrd.data.collate import pad_inputs
from dhrd.data.records import LabelSet
from dhrd.export.runtimes import Runtime, find_runtime
from helpers.models import make_model, texts
from helpers.rows import write_jsonl
from helpers.runs import run_forked

if TYPE_CHECKING:
    from helpers.fork import ForkServer

Export = Callable[..., "Made"]


def save(directory: Path, family: str, *, head: str = "linear", pooling: str = "last") -> Path:
    """An artifact of a family, untrained."""
    model = make_model(family, head=head, pooling=pooling)
    names = LabelSet(("a", "b", "c"))
    info = ArtifactInfo(kind=kind_of(model), labels=names, head=head, pooling=pooling)  # type: ignore[arg-type]
    save_artifact(directory, model, info, card="", run={"config": {}})
    return directory


def tokens(*lengths: int) -> list[list[int]]:
    """Rows of these lengths."""
    return [[(7 * row + 3 * column) % 250 for column in range(length)] for row, length in enumerate(lengths)]


class Made(NamedTuple):
    """An export and its artifact."""

    classifier: Classifier
    forward: Runtime
    directory: Path

    @torch.inference_mode()
    def apart(self, inputs: list[list[int]], padding_side: str = "right") -> float:
        """The largest difference between logits, relative to the largest."""
        pad_token_id = self.classifier.tokenizer.pad_token_id
        batch = pad_inputs(inputs, pad_token_id=pad_token_id, padding_side=padding_side)  # type: ignore[arg-type]
        expected: Tensor = self.classifier.logits(batch)
        return float((self.forward(batch) - expected).abs().max() / expected.abs().max())


def check_is_the_forward_pass(made: Made) -> None:
    """Whatever the lengths, and wherever the padding."""
    assert made.forward.dtype == "float32"
    for inputs in (tokens(3, 40, 17, 8), tokens(1), tokens(90), tokens(8, 8)):  # (2, 8) is what was traced
        for side in ("right", "left"):
            assert made.apart(inputs, side) < 1e-4, (inputs, side)


def exporter(format: str, fork_server: ForkServer, tmp_path: Path) -> Export:
    """`dhrd export` in a process of its own: a check that two sizes are equal makes them constants to torch.export."""

    def make(artifact: Path, *flags: object) -> Made:
        out, data = tmp_path / format, write_jsonl(tmp_path / "rows.jsonl", texts(12))
        command = ("export", "--model", artifact, "--output", out, "--data", data, "--format", format)
        ended = run_forked(fork_server, tmp_path, *command, *flags)
        assert ended.code == 0, ended.err
        classifier = Classifier.from_pretrained(artifact, device="cpu", dtype=torch.float32)
        return Made(classifier, find_runtime(format).from_pretrained(out), out)

    return make
