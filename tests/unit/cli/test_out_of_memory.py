"""A lack of memory, of a GPU too, is one line that says what to lower."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from dhrd import cli


@pytest.mark.parametrize(
    "error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")]
)
def test_it_says_what_to_lower_and_what_is_kept(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def too_large(arguments: Sequence[str]) -> None:
        error.add_note("7 rows are kept")
        raise error

    monkeypatch.setattr(cli, "_run_app", too_large)
    with pytest.raises(SystemExit) as stop:
        cli.main([])
    assert stop.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("dhrd: error: out of memory; to train, set a lower training.max_tokens_per_micro_batch or ")
    assert line.endswith(
        "training.gradient_checkpointing: true; to classify, a lower --max-tokens-per-pass; 7 rows are kept"
    )


def test_another_error_of_a_run_is_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(arguments: Sequence[str]) -> None:
        raise RuntimeError("shapes cannot be multiplied")

    monkeypatch.setattr(cli, "_run_app", broken)
    with pytest.raises(RuntimeError, match="shapes"):
        cli.main([])
