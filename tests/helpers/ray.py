"""A cluster of Ray in this machine, small and quiet."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def cluster(num_cpus: int = 2) -> Iterator[None]:
    """A cluster that goes when the block ends; the test is skipped where Ray is not installed."""
    pytest.importorskip("ray", reason="ray is not installed: pip install 'dhrd[ray]'")
    from dhrd.run import ray_cluster

    os.environ.update(ray_cluster._QUIET)
    import ray

    ray.init(num_cpus=num_cpus, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    try:
        yield
    finally:
        ray.shutdown()
