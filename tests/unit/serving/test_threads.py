"""Work in a thread that ends with it."""

from __future__ import annotations

import threading

import pytest

from dhrd.serving.threads import in_own_thread


def test_the_thread_ends_with_its_work() -> None:
    thread = in_own_thread(threading.current_thread)
    assert thread is not threading.current_thread()
    assert not thread.is_alive()


def test_what_it_raises_is_raised_here() -> None:
    def work() -> None:
        raise ValueError("no weights")

    with pytest.raises(ValueError, match="no weights"):
        in_own_thread(work)
