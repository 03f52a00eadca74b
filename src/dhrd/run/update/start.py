"""The start of an update: the previous run's settings, and a place to write. Nothing here loads torch."""

from __future__ import annotations

import re
from pathlib import Path

from dhrd._files import holds_nothing
from dhrd._outputs import check_can_take_place
from dhrd._temporary import is_temporary, sweep
from dhrd.artifact.info import ArtifactInfo, check_has_classifier, read_info
from dhrd.artifact.owned import wrote
from dhrd.config import RunConfig
from dhrd.errors import ConfigError
from dhrd.training.run_dir import read_run

RATE_FACTOR = 0.3
"""An update's learning rates, relative to those of the run that it starts from."""

REPORT = "update.json"
"""The file in the artifact with the gate's report."""

ROWS_STAMP = "rows"
"""The file beside an update that records which rows it uses."""


def update_config(model: Path, config: RunConfig | None = None, *, rate_factor: float | None = None) -> RunConfig:
    """Derive the settings of an update from those of the run that it starts from.

    The artifact's input settings are kept; rows, and what chooses weights or a temperature by them, are left out; the
    learning rates are lowered unless that run was an update too.

    Args:
        model: The artifact to start from.
        config: The settings that it was trained with; None: from its run.json.
        rate_factor: Factor on both learning rates; None: 0.3, or 1 if the artifact comes from an update.

    Raises:
        ArtifactError: `model` is not an artifact with a classifier.
        ConfigError: It has no run.json, or the factor is not above 0.
    """
    if rate_factor is None:
        rate_factor = 1.0 if (model / REPORT).is_file() else RATE_FACTOR
    if not rate_factor > 0:
        raise ConfigError(f"`rate_factor` {rate_factor}: give a number above 0")
    info = read_info(model)
    check_has_classifier(model, info)
    began = config or read_run(model)
    if began is None:
        raise ConfigError(f"{model}: has no run.json with its training settings; give `config`")
    rates = {name: getattr(began.training, name) for name in ("learning_rate", "head_learning_rate")}
    lower = {name: rate_factor * rate for name, rate in rates.items() if rate is not None}
    unchosen = {"selection": "last", "metric": None, "patience": None, "calibrate": False}
    return began.model_copy(
        update={
            "model": began.model.model_copy(update=_of_model(model, info)),
            "data": began.data.model_copy(update=_of_data(info)),
            "training": began.training.model_copy(update=lower | unchosen),
        }
    )


def _of_model(model: Path, info: ArtifactInfo) -> dict[str, object]:
    own = {"head": info.head, "pooling": info.pooling}
    return {"name_or_path": str(model), "revision": None, "num_labels": None, "keep_head": True, **own}


def _of_data(info: ArtifactInfo) -> dict[str, object]:
    names = ("input_template", "chat", "max_input_tokens", "max_sequence_tokens")
    none = dict.fromkeys(
        ("train", "validation", "test", "rationales", "labels", "train_limit", "validation_limit"), None
    )
    whole = {"train_share": 1.0, "rationale_share": 1.0, "label_noise": 0.0, "dev_share": 0.0}
    return {**none, **whole, "columns": dict(info.columns), **{name: getattr(info, name) for name in names}}


def beside_output(output: Path) -> tuple[Path, Path]:
    """The directory in which an update is made, and the one where it is left if the gate does not pass."""
    return output.with_name(f"{output.name}.update"), output.with_name(f"{output.name}.rejected")


def is_published(output: Path) -> bool:
    """Whether an update was interrupted after its model was in place and before its work was removed."""
    work, _ = beside_output(output)
    return work.is_dir() and not (work / "artifact").exists() and (output / REPORT).is_file()


def check_update_place(output: Path) -> None:
    """Refuse output paths that contain anything else, before any row is read; removed work that is left goes.

    Raises:
        ConfigError: The output is not empty, or cannot be replaced, or a directory beside it has other files; or the
            update is complete, and was interrupted while it removed its work.
    """
    work, rejected = beside_output(output)
    for path in (output, rejected):
        check_can_take_place("`output`", path)
    if sweep(work, work.parent) and (output / REPORT).is_file() and not work.exists():
        raise ConfigError(f"`output` {output}: the interrupted update is complete; its last leftovers are removed now")
    if not (holds_nothing(output) or is_published(output)):
        raise ConfigError(f"`output` {output}: is not empty; give another `output`, or move it away")
    for path, is_ours in ((work, _is_work), (rejected, wrote)):
        if not holds_nothing(path) and not is_ours(path):
            raise ConfigError(f"`output` {output}: {path} contains files that are not from an update; move it away")


def _is_work(path: Path) -> bool:
    """Whether a directory contains nothing but what an update may have left."""
    ours = re.compile(f"artifact|{ROWS_STAMP}|answers-.*")
    return path.is_dir() and all(ours.fullmatch(part.name) or is_temporary(part) for part in path.iterdir())
