"""Keeping freed memory is said to the C library, once, and only to one that listens."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from dhrd.model import memory

_FAULTS = """
import resource, torch
from dhrd.model.memory import keep_freed_memory
if {keep}:
    assert keep_freed_memory()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.ones(4096, 4096).sum() + torch.ones(2048, 4096).sum()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's allocator is told")
def test_pages_are_not_asked_for_again() -> None:
    def page_faults(*, keep: bool) -> int:
        ran = subprocess.run(
            [sys.executable, "-c", _FAULTS.format(keep=keep)], capture_output=True, text=True, check=True
        )
        return int(ran.stdout)

    assert page_faults(keep=True) * 10 < page_faults(keep=False)


def test_other_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory.platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(memory.ctypes, "CDLL", None)
    assert memory.keep_freed_memory.__wrapped__() is False
