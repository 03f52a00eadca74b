"""Loading with transformers: one thread at a time, without its own progress bars, and in a forked process too."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_LOADING = threading.RLock()
_process = os.getpid()
"""Whose threads torch's pool holds: a fork leaves them behind."""


@contextmanager
def no_foreign_bars() -> Iterator[None]:
    """Load with transformers: one thread at a time, without its progress bars if stderr is not a terminal.

    While it loads, transformers changes global state (how torch creates parameters, its logging): a model
    that another thread loads meanwhile may be left without weights. The environment variable for its bars is read on
    import: too late where it was imported before us.
    """
    from transformers.utils import logging

    with _LOADING:
        _renew_threads()
        if sys.stderr.isatty() or not logging.is_progress_bar_enabled():
            yield
            return
        logging.disable_progress_bar()
        try:
            yield
        finally:
            logging.enable_progress_bar()


@contextmanager
def no_loading_report() -> Iterator[None]:
    """Keep transformers from reporting weights that are known to be left over or missing."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _renew_threads() -> None:
    """In a forked process, let torch renew its pool of threads before transformers loads with several threads.

    The first thread to ask for the pool renews it, and one that asks meanwhile fails with "Invalid thread pool!". Asked
    for without a fork, it would set MKL's number of threads, which the process may have left to MKL.
    """
    global _process
    if _process != os.getpid():
        import torch

        torch.set_num_threads(torch.get_num_threads())
        _process = os.getpid()
