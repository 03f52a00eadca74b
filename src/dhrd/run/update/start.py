"""What an update begins with: the settings of the run before, and a place to write; nothing here loads torch."""

from __future__ import annotations

import re
from pathlib import Path

from dhrd._files import holds_nothing
from dhrd._temporary import is_temporary
from dhrd.artifact.info import ArtifactInfo, check_has_classifier, read_info
from dhrd.artifact.owned import wrote
from dhrd.config import RunConfig
from dhrd.errors import ConfigError
from dhrd.training.run_dir import read_run

RATE_FACTOR = 0.3
"""An update's learning rates, in those of the run that it starts from."""

REPORT = "update.json"
"""The gate's report, in the artifact."""

ROWS_STAMP = "rows"
"""The file beside an update that tells which rows it is about."""


def update_config(model: Path, config: RunConfig | None = None, *, rate_factor: float = RATE_FACTOR) -> RunConfig:
    """The settings of an update, from those of the run that it starts from.

    What the artifact says of its inputs holds; rows, and what chooses weights or a temperature by rows, are left out;
    the rates are lower, unless that run was an update too.

    Args:
        model: The artifact to start from.
        config: The settings that it was trained with; None: as its run.json has them.
        rate_factor: Of both learning rates.

    Raises:
        ArtifactError: It is no artifact with a classifier.
        ConfigError: It has no run.json, or the factor is not above 0.
    """
    if not rate_factor > 0:
        raise ConfigError(f"`rate_factor` {rate_factor}: give a number above 0")
    info = read_info(model)
    check_has_classifier(model, info)
    began = config or read_run(model)
    if began is None:
        raise ConfigError(f"{model}: no run.json there says how it was trained; give `config`")
    factor = 1.0 if began.model.keep_head else rate_factor
    rates = {name: getattr(began.training, name) for name in ("learning_rate", "head_learning_rate")}
    lower = {name: factor * rate for name, rate in rates.items() if rate is not None}
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
    """Where an update grows, and where it is left if the gate does not hold."""
    return output.with_name(f"{output.name}.update"), output.with_name(f"{output.name}.rejected")


def is_published(output: Path) -> bool:
    """Whether an update is in its place, which was stopped before it removed what it grew in."""
    work, _ = beside_output(output)
    return work.is_dir() and not (work / "artifact").exists() and (output / REPORT).is_file()


def check_update_place(output: Path) -> None:
    """Refuse to write where something is that is not ours, before anything is read.

    Raises:
        ConfigError: The output is not empty, or something of another's lies beside it.
    """
    work, rejected = beside_output(output)
    if not (holds_nothing(output) or is_published(output)):
        raise ConfigError(f"`output` {output}: is not empty; give another `output`, or move it away")
    for path, is_ours in ((work, _is_work), (rejected, wrote)):
        if not holds_nothing(path) and not is_ours(path):
            raise ConfigError(f"`output` {output}: {path} is not of an update of dhrd's; move it away")


def _is_work(path: Path) -> bool:
    """Whether all that is in a directory may be an update's."""
    ours = re.compile(f"artifact|{ROWS_STAMP}|answers-.*")
    return path.is_dir() and all(ours.fullmatch(part.name) or is_temporary(part) for part in path.iterdir())
