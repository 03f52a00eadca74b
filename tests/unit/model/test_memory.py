"""Freed memory is kept where the C library listens, once; weights are taken out of their file."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from dhrd.model import memory

_FAULTS = """
import resource, threading, torch
from dhrd.model.memory import keep_freed_memory
if {keep}:
    assert keep_freed_memory()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range({times}):
        [torch.ones(4096, 4096 * {size}) for _ in range({count})]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
def work():
    faults()
    print(faults())
{call}
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's allocator is told")
@pytest.mark.parametrize("call", ["work()", "threading.Thread(target=work).start()"])
@pytest.mark.parametrize(("times", "size", "count"), [(20, 1, 2), (2, 2, 20)], ids=["100 MB", "over 2 GiB"])
def test_pages_are_not_asked_for_again(call: str, times: int, size: int, count: int) -> None:
    def page_faults(*, keep: bool) -> int:
        script = _FAULTS.format(keep=keep, call=call, times=times, size=size, count=count)
        ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        return int(ran.stdout)

    assert page_faults(keep=True) * 10 < page_faults(keep=False)


_HELD = """
import psutil, torch
from dhrd.model.memory import keep_freed_memory, return_freed_memory
assert keep_freed_memory()
held_mb = lambda: psutil.Process().memory_info().rss // 2**20
torch.ones(2**20)
before = held_mb()
blocks = [torch.ones(2**20 + 2**16 * number) for number in range(64)]
small = [torch.ones(2**10) for _ in range(64)]
del blocks
kept = held_mb()
return_freed_memory()
print(kept - before, held_mb() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's allocator is told")
def test_freed_memory_is_returned_when_asked() -> None:
    ran = subprocess.run([sys.executable, "-c", _HELD], capture_output=True, text=True, check=True)
    kept_mb, left_mb = map(int, ran.stdout.split())
    assert kept_mb > 500 and left_mb < 50


def test_other_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory.platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(memory.ctypes, "CDLL", None)
    monkeypatch.setattr(memory, "_glibc", memory._glibc.__wrapped__)
    assert memory.keep_freed_memory.__wrapped__() is False
    memory.return_freed_memory()


def test_own_weights_do_not_change_with_their_file(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"

    def loaded(value: float) -> nn.Module:
        save_file({"weight": torch.full((8, 8), value)}, path)
        model = nn.Linear(8, 8, bias=False)
        model.load_state_dict(load_file(path), assign=True)
        return model

    mapped, own = loaded(1.0), loaded(1.0)
    memory.own_weights(own)
    with path.open("r+b") as file:
        file.seek(-8 * 8 * 4, 2)
        file.write(torch.full((8, 8), 2.0).numpy().tobytes())
    assert float(own.weight[0, 0]) == 1
    assert own.weight.requires_grad and own.weight.data_ptr() != mapped.weight.data_ptr()
