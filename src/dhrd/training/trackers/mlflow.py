"""MLflow: the tracker of a run, and this process's MLflow configuration."""

from __future__ import annotations

import logging
import os
import posixpath
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from dhrd._extras import require
from dhrd._files import LOCK
from dhrd._text import message_of
from dhrd.config.published import HIDDEN, masked
from dhrd.data.digest import text_digest
from dhrd.errors import ConfigError
from dhrd.training.trackers.tracker import Tracker, usable

logger = logging.getLogger("dhrd")

DEFAULT_URI = "sqlite:///mlflow.db"

_NO_PART_OF_A_KEY = re.compile(r"[^\w./ :-]")
_LONGEST_KEY = 250


@dataclass(slots=True)
class MlflowProcess:
    """A process's MLflow configuration, which is global as MLflow itself is.

    Args:
        is_configured: Whether a store was chosen, by `configure_mlflow` or by a run.
        autologs: Whether every training logs to it.
    """

    is_configured: bool = False
    autologs: bool = False


THIS_PROCESS = MlflowProcess()


class MlflowTracker(Tracker):
    """Logs to the active MLflow run, or to one of its own: inside the active one where that is of another training.

    Args:
        params: The run's settings.
        uri: Tracking URI; None: what the process uses, or sqlite:///mlflow.db.
        experiment: Name of the experiment, for a run of its own.
        run_name: Name of the run.
        run_id: Resume this run.

    Raises:
        MissingExtra: mlflow is not installed.
    """

    def __init__(
        self,
        params: Mapping[str, object],
        *,
        uri: str | None = None,
        experiment: str = "dhrd",
        run_name: str | None = None,
        run_id: str | None = None,
    ) -> None:
        self._mlflow = require("mlflow", extra="mlflow")
        self._owns = self._mlflow.active_run() is None
        if self._owns and (uri is not None or not THIS_PROCESS.is_configured):
            configure_mlflow(_known(uri) or os.environ.get("MLFLOW_TRACKING_URI", DEFAULT_URI), experiment)
        given = {mlflow_key(name): str(value)[:500] for name, value in params.items()}
        with usable("tracking: mlflow"), self._closed_where_it_fails():
            is_nested = not self._owns and self._is_of_another_training(given, run_id)
            self._owns = self._owns or is_nested
            run_id = run_id if self._is_there(run_id) else None
            if self._owns:
                self._mlflow.start_run(run_id=run_id, run_name=None if run_id else run_name, nested=is_nested)
            self._run_id = self._mlflow.active_run().info.run_id
            if run_id != self._run_id:
                self._mlflow.log_params(given)

    def _is_of_another_training(self, params: Mapping[str, str], run_id: str | None) -> bool:
        """Whether the active run has the settings of a training before this one, which MLflow never changes."""
        active_id = self._mlflow.active_run().info.run_id
        theirs = self._mlflow.get_run(active_id).data.params
        return active_id != run_id and any(theirs.get(name, value) != value for name, value in params.items())

    def _is_there(self, run_id: str | None) -> bool:
        """Whether the run to resume is in this store."""
        if run_id is None:
            return False
        try:
            self._mlflow.get_run(run_id)
        except self._mlflow.exceptions.MlflowException as error:
            if self._owns:
                why = masked(message_of(error))
                logger.warning("mlflow: cannot resume run %s (%s); starting a new one", run_id, why)
            return False
        return True

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
        """Log them as metrics."""
        named = {mlflow_key(name): value for name, value in values.items()}
        self._mlflow.log_metrics(named, step=step, run_id=self._run_id)

    def state(self) -> dict[str, str]:
        """The run's id."""
        return {"mlflow_run_id": self._run_id}

    def finish(self, artifact: Path | None) -> None:
        """Log the artifact's files, and end the run if the tracker started it."""
        if artifact is not None:
            for path in sorted(artifact.iterdir()):
                if path.is_file() and path.name != LOCK:
                    self._mlflow.log_artifact(str(path), artifact_path="model", run_id=self._run_id)
        if self._owns:
            self._mlflow.end_run()

    def abort(self, status: str) -> None:
        """End the run if the tracker started it."""
        if self._owns:
            self._mlflow.end_run(status)


def mlflow_key(name: str) -> str:
    """A name that MLflow takes for one that contains what users call their labels or tasks."""
    key = _NO_PART_OF_A_KEY.sub("_", name)
    key = key if posixpath.normpath(key) == key else key.replace("/", "_")
    return key if key == name and len(key) <= _LONGEST_KEY else f"{key[: _LONGEST_KEY - 9]}_{text_digest(name)[:8]}"


def _known(uri: str | None) -> str | None:
    """The address; None if it was saved without its secret and the environment has one.

    Raises:
        ConfigError: The environment has none.
    """
    if uri is None or HIDDEN not in uri:
        return uri
    if "MLFLOW_TRACKING_URI" in os.environ:
        return None
    raise ConfigError(f"tracking.uri: {uri} was saved without its secret; give it again, or set MLFLOW_TRACKING_URI")


def configure_mlflow(tracking_uri: str = DEFAULT_URI, experiment: str = "dhrd") -> None:
    """Choose MLflow's store and experiment for this process.

    Recent mlflow refuses `file:` stores unless MLFLOW_ALLOW_FILE_STORE is set; it is set here, for this process, when
    such a store is asked for and the variable is unset.

    Args:
        tracking_uri: For example `file:./mlruns`, `sqlite:///mlflow.db`, `http://host:5000`.
        experiment: Name of the experiment, created if absent.

    Raises:
        MissingExtra: mlflow is not installed.
    """
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
    THIS_PROCESS.is_configured = True
