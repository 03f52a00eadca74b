"""Out-of-fold trainings that are interrupted."""

from __future__ import annotations

import pytest

from dhrd.evaluation import folds
from helpers.runs import run_here


def assert_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: list[str], *, num_folds: int, at: int
) -> None:
    """Interrupted in one of its trainings, a command says how it goes on, and then trains only what is missing.

    Args:
        monkeypatch: Of the test.
        capsys: Of the test.
        command: Of `dhrd`.
        num_folds: That it trains in.
        at: The training that is interrupted, counted from 1.
    """
    real, trained = folds._train, []

    def interrupted(*arguments: object) -> object:
        trained.append(1)
        if len(trained) == at:
            raise KeyboardInterrupt
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(folds, "_train", interrupted)
    ended = run_here(capsys, *command)
    assert ended.code == 130 and "run the same command again to continue" in ended.err
    assert run_here(capsys, *command).code == 0
    assert len(trained) == num_folds + 1, "each fold once, and one that was interrupted"
