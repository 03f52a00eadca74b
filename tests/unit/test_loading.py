"""Loading with transformers; that one thread loads at a time: `tests/cases/test_threads.py`."""

from __future__ import annotations

import io
import os
import sys

import pytest
import torch
from transformers.utils import logging

from dhrd._loading import no_foreign_bars, no_loading_report


def test_a_forked_process_renews_torchs_threads_before_it_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the threads that transformers loads with race for the pool, and one load in ten fails."""
    renewed: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", renewed.append)
    with no_foreign_bars():
        assert not renewed, "the threads of this process are its own"
    if (pid := os.fork()) == 0:
        with no_foreign_bars(), no_foreign_bars():
            os._exit(len(renewed))
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 1


def test_what_transformers_says_is_as_before_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())  # no terminal
    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    with pytest.raises(KeyError), no_foreign_bars(), no_loading_report():
        assert logging.get_verbosity() == logging.ERROR
        assert not logging.is_progress_bar_enabled()
        raise KeyError
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before
