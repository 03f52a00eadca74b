"""A cluster of Ray in this machine, small and quiet, and its processes."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def cluster(num_cpus: int = 2) -> Iterator[None]:
    """A cluster that goes when the block ends; the test is skipped where Ray is not installed."""
    pytest.importorskip("ray", reason="ray is not installed: pip install 'dhrd[ray]'")
    from dhrd.run.ray import cluster as ray_cluster

    # By default workers give way to all that runs beside the tests.
    os.environ.update(ray_cluster._QUIET | {"RAY_worker_niceness": "0"})
    import ray

    ray.init(num_cpus=num_cpus, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    try:
        yield
    finally:
        ray.shutdown()


def processes_of(parent: int, name: str) -> list[int]:
    """Descendants of a process whose command line holds a name."""
    parents = {int(path.name): _parent(path) for path in Path("/proc").iterdir() if path.name.isdigit()}
    return sorted(pid for pid in parents if _descends(pid, parent, parents) and name in _command(pid))


def _descends(pid: int, parent: int, parents: dict[int, int]) -> bool:
    while pid := parents.get(pid, 0):
        if pid == parent:
            return True
    return False


def _parent(path: Path) -> int:
    try:
        return int((path / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""
