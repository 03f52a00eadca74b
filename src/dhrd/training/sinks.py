"""Where logged numbers go: metrics.jsonl always; MLflow, Weights & Biases, TensorBoard when asked for."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from dhrd._extras import require
from dhrd._files import LOCK, RESUME, saving
from dhrd.config import RunConfig
from dhrd.errors import UserError
from dhrd.training.directory import flat
from dhrd.training.position import Position

if TYPE_CHECKING:
    from accelerate import Accelerator

logger = logging.getLogger("dhrd")

DEFAULT_URI = "sqlite:///mlflow.db"


class Sink(Protocol):
    """Takes every logged number of a run."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Numbers of one update or evaluation."""

    def state(self) -> dict[str, str]:
        """What is needed to go on with the same run after a restart."""

    def finish(self, artifact: Path | None) -> None:
        """The run ended well, with this artifact."""

    def abort(self, status: str) -> None:
        """The run ended otherwise: "FAILED" or "KILLED"."""


class JsonlSink:
    """metrics.jsonl: one object an update or evaluation, flushed at once.

    Args:
        path: The file.
        step: Lines after this update are cut off: the run goes on from there and writes them again.
    """

    def __init__(self, path: Path, step: int = 0) -> None:
        kept = [line for line in _whole_lines(path) if json.loads(line)["step"] <= step] if step else []
        with saving(str(path), RESUME):
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(".partial")
            partial.write_text("".join(kept), encoding="utf-8")
            os.replace(partial, path)
            self._file = path.open("a", encoding="utf-8")

    def log(self, values: Mapping[str, float], step: int) -> None:
        with saving("metrics.jsonl", RESUME):
            self._file.write(json.dumps({"step": step, **values}) + "\n")
            self._file.flush()

    def state(self) -> dict[str, str]:
        return {}

    def finish(self, artifact: Path | None) -> None:
        with saving("metrics.jsonl", RESUME):
            self._file.close()

    def abort(self, status: str) -> None:
        with suppress(OSError):  # a full disk has been told of, and closing writes again what did not fit
            self._file.close()


def _whole_lines(path: Path) -> Iterator[str]:
    """The lines of a file that a kill may have cut within the last."""
    if not path.is_file():
        return
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.endswith("}\n"):
                yield line


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
        if self._owns:
            if uri is not None or not _configured:
                configure_mlflow(uri or os.environ.get("MLFLOW_TRACKING_URI", DEFAULT_URI), experiment)
            self._mlflow.start_run(run_id=run_id, run_name=None if run_id else run_name)
        self._run_id = self._mlflow.active_run().info.run_id
        if run_id is None:
            self._mlflow.log_params({name: str(value)[:500] for name, value in params.items()})

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
def open_sinks(
    config: RunConfig, accelerator: Accelerator, output_dir: Path, position: Position, callbacks: Sequence[Sink]
) -> Iterator[list[Sink]]:
    """The run's sinks, told how it ended: with the artifact in `output_dir`, or not."""
    sinks: list[Sink] = list(callbacks)
    tracking, params = config.tracking, flat(config.model_dump(mode="json"))
    try:
        if accelerator.is_main_process:
            sinks.append(JsonlSink(output_dir / "metrics.jsonl", position.step))
            if "mlflow" in tracking.report_to or autologging():
                run_id = (position.tracker or {}).get("mlflow_run_id")
                sinks.append(
                    MlflowSink(
                        params,
                        uri=tracking.uri,
                        experiment=tracking.experiment,
                        run_name=tracking.run_name,
                        run_id=run_id,
                    )
                )
        if any(one != "mlflow" for one in tracking.report_to):
            sinks.append(AccelerateSink(accelerator, tracking.experiment, params))
        yield sinks
        for sink in sinks:
            sink.finish(output_dir)
    except BaseException as error:
        for sink in sinks:
            sink.abort("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
        raise


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
        logger.warning("mlflow: MLFLOW_ALLOW_FILE_STORE=true is set for this process, as %s needs", tracking_uri)
    mlflow.set_tracking_uri(tracking_uri)
    try:
        mlflow.set_experiment(experiment)
    except mlflow.exceptions.MlflowException as error:
        raise UserError(f"tracking.uri: {tracking_uri} cannot be used: {error.message}") from error
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
