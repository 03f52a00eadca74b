"""The Ray cluster that a job runs on: an existing one, or a local one for the duration of the job."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from dhrd._extras import require
from dhrd._text import message_of
from dhrd.errors import ConfigError

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_DATA_LOG_LEVEL": "CRITICAL",
}


@dataclass(frozen=True, slots=True)
class Workers:
    """The workers requested from a cluster.

    Args:
        count: Number of processes, each with a classifier.
        num_cpus: Cores per process.
        num_gpus: GPUs per process.
    """

    count: int
    num_cpus: int
    num_gpus: int = 0

    @property
    def device(self) -> str:
        """The device each worker uses."""
        return "cuda" if self.num_gpus else "cpu"


@contextmanager
def connected() -> Iterator[Any]:
    """Connect to the cluster that this process already uses, or that `RAY_ADDRESS` or `ray start` names, or start one.

    Ray's telemetry is off, and it only prints errors.

    Yields:
        The module `ray`.

    Raises:
        MissingExtra: Ray is not installed.
        ConfigError: The cluster cannot be reached, or no cluster can be started.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    ray = require("ray", extra="ray")
    require("ray.data", extra="ray")
    if ray.is_initialized():
        yield ray
        return
    try:
        with _own_signals():
            ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError, OSError, ray.exceptions.RayError) as error:
        raise ConfigError(
            f"no cluster: {message_of(error)}; correct RAY_ADDRESS, or unset it for a local cluster"
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


@contextmanager
def _own_signals() -> Iterator[None]:
    """Restore the handler of SIGTERM, which Ray replaces, so that the signal ends a command as it does without Ray."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def workers_of(nodes: Sequence[dict[str, Any]], num_workers: int | None, device: object) -> Workers:
    """Choose a job's workers, with as many cores each as fit.

    Args:
        nodes: The result of `ray.nodes()`.
        num_workers: Number of workers; None: one per GPU or, without GPUs, one per machine.
        device: `cuda` or `cpu`; None: GPUs if there are any.

    Raises:
        ConfigError: The cluster is too small, or the device is neither of these.
    """
    if device not in (None, "cuda", "cpu"):
        raise ConfigError(f"`device` {device}: a worker has one GPU or none; give cuda or cpu, or leave it out")
    resources = [node["Resources"] for node in nodes if node["Alive"] and node["Resources"].get("CPU")]
    gpus = [int(node.get("GPU", 0)) for node in resources]
    if device == "cuda" and not any(gpus):
        raise ConfigError("`device` cuda: no machine of the cluster has a GPU; leave it out for the best available")
    if any(gpus) and device != "cpu":
        return _fitted(resources, num_workers or sum(gpus), 1)
    return _fitted(resources, num_workers or len(resources), 0)


def _fitted(resources: Sequence[dict[str, float]], count: int, num_gpus: int) -> Workers:
    most = int(max((node["CPU"] for node in resources), default=0))
    for num_cpus in range(most, 0, -1):
        room = [min(int(node["CPU"] // num_cpus), int(node.get("GPU", 0)) if num_gpus else count) for node in resources]
        if sum(room) >= count > 0:
            return Workers(count, num_cpus, num_gpus)
    cpus, gpus = (int(sum(node.get(kind, 0) for node in resources)) for kind in ("CPU", "GPU"))
    raise ConfigError(
        f"`num_workers={count}`: a worker needs a core{' and a GPU' * num_gpus}, but the cluster has {cpus} cores and "
        f"{gpus} GPUs; give another number, or leave it out"
    )
