"""Trackers beside metrics.jsonl: MLflow; Weights & Biases and TensorBoard through accelerate."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dhrd._extras import require
from dhrd._files import LOCK
from dhrd._text import message_of
from dhrd.config.published import HIDDEN, masked
from dhrd.errors import ConfigError, UserError

if TYPE_CHECKING:
    from accelerate import Accelerator

    from dhrd.training.trackers import Sink

logger = logging.getLogger("dhrd")

DEFAULT_URI = "sqlite:///mlflow.db"


class Lasting:
    """A tracker that may fail: it is told no more then, and the run goes on with metrics.jsonl.

    Args:
        name: Of the tracker, for the one warning.
        sink: The tracker.
    """

    def __init__(self, name: str, sink: Sink) -> None:
        self._name, self._sink, self._failed = name, sink, False

    def log(self, values: Mapping[str, float], step: int) -> None:
        if not self._failed:
            self._attempt(lambda: self._sink.log(values, step), f"at step {step}")

    def state(self) -> dict[str, str]:
        return self._sink.state()

    def finish(self, artifact: Path | None) -> None:
        if not self._failed:
            self._attempt(lambda: self._sink.finish(artifact), "at the end")
        if self._failed:  # what is open in this process is closed, or the next run would log to it
            self._attempt(lambda: self._sink.abort("FAILED"), "at the end")

    def abort(self, status: str) -> None:
        self._attempt(lambda: self._sink.abort(status), "at the end")

    def _attempt(self, act: Callable[[], None], when: str) -> None:
        try:
            act()
        except Exception as error:  # whatever a tracker raises: servers, disks, quotas
            if not self._failed:
                logger.warning(
                    "%s failed %s (%s); nothing more is sent to it, metrics.jsonl has every number",
                    self._name, when, masked(message_of(error)),
                )  # fmt: skip
            self._failed = True


class MlflowSink:
    """Logs to the active MLflow run, or to one of its own.

    Args:
        params: The run's settings.
        uri: Tracking URI; None: what the process uses, or sqlite:///mlflow.db.
        experiment: Name of the experiment, for a run of its own.
        run_name: Name of the run.
        run_id: Go on with this run.

    Raises:
        MissingExtra: mlflow is not installed.
    """

    def __init__(
        self,
        params: Mapping[str, Any],
        *,
        uri: str | None = None,
        experiment: str = "dhrd",
        run_name: str | None = None,
        run_id: str | None = None,
    ) -> None:
        self._mlflow = require("mlflow", extra="mlflow")
        self._owns = self._mlflow.active_run() is None
        if self._owns and (uri is not None or not _configured):
            configure_mlflow(_known(uri) or os.environ.get("MLFLOW_TRACKING_URI", DEFAULT_URI), experiment)
        with usable("tracking: mlflow"), self._closed_where_it_fails():
            run_id = self._still_there(run_id)
            if self._owns:
                self._mlflow.start_run(run_id=run_id, run_name=None if run_id else run_name)
            self._run_id = self._mlflow.active_run().info.run_id
            if run_id is None:
                self._mlflow.log_params({name: str(value)[:500] for name, value in params.items()})

    def _still_there(self, run_id: str | None) -> str | None:
        """The run to go on with; None where this store has it no more, or never had."""
        if run_id is None or not self._owns:
            return run_id
        try:
            self._mlflow.get_run(run_id)
        except self._mlflow.exceptions.MlflowException as error:
            logger.warning(
                "mlflow: run %s cannot be gone on with (%s); a new one is begun", run_id, masked(message_of(error))
            )
            return None
        return run_id

    @contextmanager
    def _closed_where_it_fails(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            if self._owns:
                with suppress(Exception):
                    self._mlflow.end_run("FAILED")
            raise

    def log(self, values: Mapping[str, float], step: int) -> None:
        self._mlflow.log_metrics(dict(values), step=step, run_id=self._run_id)

    def state(self) -> dict[str, str]:
        return {"mlflow_run_id": self._run_id}

    def finish(self, artifact: Path | None) -> None:
        if artifact is not None:
            for path in sorted(artifact.iterdir()):
                if path.is_file() and path.name != LOCK:
                    self._mlflow.log_artifact(str(path), artifact_path="model", run_id=self._run_id)
        if self._owns:
            self._mlflow.end_run()

    def abort(self, status: str) -> None:
        if self._owns:
            self._mlflow.end_run(status)


def _known(uri: str | None) -> str | None:
    """The address; None where a file kept it without its password, and the environment has it.

    Raises:
        ConfigError: The environment has none.
    """
    if uri is None or HIDDEN not in uri:
        return uri
    if "MLFLOW_TRACKING_URI" in os.environ:
        return None
    raise ConfigError(f"tracking.uri: {uri} was kept without its secret; give it again, or set MLFLOW_TRACKING_URI")


class AccelerateSink:
    """Weights & Biases and TensorBoard, through accelerate's trackers."""

    def __init__(self, accelerator: Accelerator, experiment: str, params: Mapping[str, Any]) -> None:
        self._accelerator = accelerator
        plain = {name: v if isinstance(v, int | float | str | bool) else str(v) for name, v in params.items()}
        accelerator.init_trackers(experiment, config=plain)

    def log(self, values: Mapping[str, float], step: int) -> None:
        self._accelerator.log(dict(values), step=step)

    def state(self) -> dict[str, str]:
        return {}

    def finish(self, artifact: Path | None) -> None:
        self._accelerator.end_training()

    def abort(self, status: str) -> None:
        self._accelerator.end_training()


@contextmanager
def usable(what: str) -> Iterator[None]:
    """Turn what a tracker raises before training into one line."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # no driver for the database, no server, no such run: each library has errors of its own
        raise ConfigError(f"{what} cannot be used ({masked(message_of(error))})") from error


_configured = False
_autolog = False


def configure_mlflow(tracking_uri: str = DEFAULT_URI, experiment: str = "dhrd") -> None:
    """Choose MLflow's store and experiment for this process.

    Recent mlflow refuses `file:` stores unless MLFLOW_ALLOW_FILE_STORE is set; it is set here, for this process, when
    such a store is asked for and the variable is unset.

    Args:
        tracking_uri: For example `file:./mlruns`, `sqlite:///mlflow.db`, `http://host:5000`.
        experiment: Created where absent.

    Raises:
        MissingExtra: mlflow is not installed.
    """
    global _configured
    mlflow = require("mlflow", extra="mlflow")
    is_file_store = tracking_uri.startswith("file:") or "://" not in tracking_uri
    if is_file_store and "MLFLOW_ALLOW_FILE_STORE" not in os.environ:
        os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
        logger.warning(
            "mlflow: MLFLOW_ALLOW_FILE_STORE=true is set for this process, as %s needs", masked(tracking_uri)
        )
    with usable(f"tracking.uri: {masked(tracking_uri, is_endpoint=True)}"):
        mlflow.set_tracking_uri(tracking_uri)
        mlflow.set_experiment(experiment)
    _configured = True


def enable_autologging() -> None:
    """From now on every training in this process logs params, metrics and the artifact to MLflow.

    It logs to the active run (`mlflow_run`), or to a run of its own.

    Raises:
        MissingExtra: mlflow is not installed.
    """
    global _autolog
    require("mlflow", extra="mlflow")
    _autolog = True


def autologging() -> bool:
    """Whether `enable_autologging` was called."""
    return _autolog


@contextmanager
def mlflow_run(run_name: str | None = None, tags: Mapping[str, str] | None = None) -> Iterator[Any]:
    """An MLflow run around a block; training inside it logs to it once `enable_autologging()` was called.

    Args:
        run_name: Its name.
        tags: Its tags.

    Yields:
        The mlflow run.
    """
    mlflow = require("mlflow", extra="mlflow")
    if not _configured and "MLFLOW_TRACKING_URI" not in os.environ:
        configure_mlflow()
    with mlflow.start_run(run_name=run_name, tags=dict(tags or {})) as run:
        yield run
