"""`dhrd.json`: an artifact's metadata beyond the stock files. It may be untrusted or damaged.

A directory without it is unfinished, and no reader accepts it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)
from typing_extensions import TypedDict

from dhrd._temporary import is_temporary
from dhrd._text import dhrd_command, shown
from dhrd._versions import library_versions
from dhrd.artifact.digests import LABELS, names_digest
from dhrd.config.model import Pooling
from dhrd.config.retired import split_retired
from dhrd.config.section import Count, Positive, Weight
from dhrd.data.label_space import LabelSpace
from dhrd.data.records import LabelSet
from dhrd.data.sequence import SequenceTemplate
from dhrd.data.superglue import TASKS
from dhrd.data.templates import InputTemplate
from dhrd.decisions.decision import Decision
from dhrd.errors import ArtifactError, UserError
from dhrd.model.foreign import read_small_json, reading

if TYPE_CHECKING:
    from transformers import PreTrainedModel

MANIFEST = "dhrd.json"
SCORE = "score.weight"
UNBIND = f'if that was on purpose, remove "digests" from {MANIFEST}'
"""How to go on with parts that were changed by hand."""
FORMAT_VERSION = 3
"""The format with several tasks; 2 with a decision, 1 without either, so that an older dhrd reads only what it
understands: it would ignore the decision, and take the labels of several tasks for those of one."""
Kind = Literal["sequence_classifier", "dhrd_classifier", "causal_lm", "onnx", "export"]
EXPORTS: tuple[Kind, ...] = ("onnx", "export")

_NUM_SHOWN = 3  # number of invalid fields to report


class SelectedOn(TypedDict, total=False):
    """The rows on which weights or a temperature were chosen."""

    rows: str | None
    fingerprint: str | None


class RowsRead(TypedDict, total=False):
    """Digests (`rows_digest`) of what reading the run's own rows gave, which tell whether it still gives the same."""

    train: str | None
    held_out: str | None


class TrainingSummary(TypedDict, total=False):
    """Summary of the run; further fields are kept."""

    __pydantic_config__ = ConfigDict(extra="allow", strict=True)  # type: ignore[misc]  # pydantic's way
    backbone: str | None
    num_train_examples: int
    num_with_rationale: int
    num_labelled: dict[str, int]
    num_inputs_cut: int
    num_rationales_cut: int
    classification_weight: Weight | None
    reasoning_weight: Weight | None
    seed: int
    steps: int
    selected_on: SelectedOn | None
    rows: RowsRead | None
    metrics: dict[str, Any] | None


_RETIRED: Mapping[str, object] = {"order": "reason_first", "visible_input_tokens": None}  # of `sequence`
_ONE, _SEVERAL = "of one task", "of several tasks"


def _num_tasks(labels: object) -> str:
    """Discriminate between the two kinds of label set, so that errors concern only the right one."""
    has_tasks = "tasks" in labels if isinstance(labels, Mapping) else isinstance(labels, LabelSpace)
    return _SEVERAL if has_tasks else _ONE


class ArtifactInfo(BaseModel):
    """The content of `dhrd.json` without its format version; fields missing from older files have defaults.

    Args:
        kind: `sequence_classifier`: a stock classifier, loadable by transformers and vLLM. `dhrd_classifier`: with an
            `mlp` head or `mean` pooling, in head.safetensors. `causal_lm`: a reasoning-only student without a
            classifier. `onnx`: an export for ONNX Runtime. `export`: an export for another runtime.
        labels: The label set; with several tasks the labels of all tasks, concatenated, and those of each.
        input_template: Jinja2 template over a row's columns.
        columns: Mapping of fields to the training rows' columns, where they differ.
        task_columns: With several tasks, mapping of tasks to the training rows' columns, where they differ.
        label_separator: Separator of several labels in one text of the training rows.
        chat: Whether the input is wrapped in the tokenizer's chat template.
        max_input_tokens: Longer inputs are truncated.
        max_sequence_tokens: Limit of the training sequences.
        head: `linear` or `mlp`.
        pooling: `last` or `mean`.
        task: SuperGLUE task, for its official metrics.
        sequence: The markers of rationale and answer.
        calibration: The temperature folded into the head; 1: none.
        decision: The decision on which rows are answered; None: all are.
        training: Summary of the run.
        versions: Libraries that wrote it.
        digests: Of the files and label names that belong together (`artifact/digests.py`); none: they are not compared.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    kind: Kind
    labels: Annotated[Annotated[LabelSpace, Tag(_SEVERAL)] | Annotated[LabelSet, Tag(_ONE)], Discriminator(_num_tasks)]
    input_template: str = "{{ input_text }}"
    columns: Mapping[str, str] = Field(default_factory=dict)
    task_columns: Mapping[str, str] = Field(default_factory=dict)
    label_separator: str | None = None
    chat: bool = False
    max_input_tokens: Count = 512
    max_sequence_tokens: Count = 1024
    head: Literal["linear", "mlp"] = "linear"
    pooling: Pooling = "last"
    task: str | None = None
    sequence: SequenceTemplate = SequenceTemplate()
    calibration: Mapping[str, Positive] = Field(default_factory=lambda: {"temperature": 1.0})
    decision: Decision | None = None
    training: TrainingSummary = Field(default_factory=lambda: TrainingSummary())
    versions: Mapping[str, str] = Field(default_factory=library_versions)
    digests: Mapping[str, str] = Field(default_factory=dict)

    @field_validator("labels")
    @classmethod
    def _distinct(cls, labels: LabelSet) -> LabelSet:
        if len(labels) < 2 or not all(labels.names):
            raise ValueError(f"names: at least two are needed, none of them empty ({shown(labels.names)})")
        if len(set(labels.names)) < len(labels):
            raise ValueError(f"names: duplicates ({shown(labels.names)})")
        return labels

    @model_validator(mode="after")
    def _decides_its_labels(self) -> ArtifactInfo:
        if self.decision and isinstance(self.labels, LabelSpace):
            raise ValueError("decision: supported for a single task only")
        rules = self.decision.rules if self.decision else ()
        if odd := [rule.target.label for rule in rules if rule.target.label not in ("", *self.labels.names)]:
            raise ValueError(f"decision: there is no label {shown(odd[0])}")
        return self

    @field_validator("sequence", mode="before")
    @classmethod
    def _without_retired(cls, sequence: object) -> object:
        """Drop two fields of older versions, which had no effect in most artifacts."""
        if not isinstance(sequence, Mapping):
            return sequence
        rest, used = split_retired(sequence, _RETIRED)
        if used:
            name, value = next(iter(used.items()))
            raise ValueError(f"{name}: {shown(value)} is from an older dhrd; train again")
        return rest

    @field_validator("task")
    @classmethod
    def _known_task(cls, task: str | None) -> str | None:
        if task is not None and task not in TASKS:
            raise ValueError(f"known are {', '.join(TASKS)}")
        return task

    @model_validator(mode="after")
    def _stock_head(self) -> ArtifactInfo:
        if self.kind == "sequence_classifier" and (self.head, self.pooling) != ("linear", "last"):
            raise ValueError("kind: a sequence_classifier has head linear and pooling last")
        return self

    @property
    def chosen_on(self) -> str | None:
        """The fingerprint of the rows that the weights or a temperature were chosen on; None: of none."""
        return (self.training.get("selected_on") or {}).get("fingerprint")

    @property
    def reasons(self) -> bool:
        """Whether the reasoning head was trained."""
        return self.training.get("reasoning_weight") != 0

    def answered(self, probabilities_BC: np.ndarray) -> np.ndarray:
        """Which rows are answered, (B,), by the decision; all without one."""
        if self.decision is None:
            return np.ones(len(probabilities_BC), dtype=bool)
        return self.decision.answered(probabilities_BC, self.labels.names, multi_label=self.labels.multi_label)

    def without_rules(self) -> ArtifactInfo:
        """A copy whose decision answers every row, for use with a threshold instead."""
        if self.decision is None:
            return self
        return self.model_copy(update={"decision": replace(self.decision, rules=())})


def to_manifest(info: ArtifactInfo) -> dict[str, Any]:
    """The content of dhrd.json."""
    version = FORMAT_VERSION if isinstance(info.labels, LabelSpace) else 1 if info.decision is None else 2
    absent = {name for name in ("decision", "task_columns", "label_separator", "digests") if not getattr(info, name)}
    summary = {"training": info.training}  # as it is: pydantic 2.10 writes only what the type names
    return {"format_version": version, **info.model_dump(exclude=absent), **summary}


def read_info(directory: str | Path) -> ArtifactInfo:
    """Read and check `dhrd.json`.

    Raises:
        ArtifactError: The directory is missing, unfinished, not an artifact, of a newer format, a field is wrong, or
            the label names are not those of the training.
    """
    directory = Path(directory).expanduser()
    path = directory / MANIFEST
    if not os.path.isdir(directory):  # no error for a name that the system refuses
        raise ArtifactError(f"{directory}: no such directory; give one written by `dhrd train`")
    if not path.is_file():
        unfinished = (directory / "checkpoints").is_dir() or any(map(is_temporary, directory.iterdir()))
        raise ArtifactError(
            f"{directory}: training is not finished (no {MANIFEST}); continue with "
            + dhrd_command("train", checkpoint=directory)
            if unfinished
            else f"{directory}: not a dhrd artifact (no {MANIFEST}); give a directory written by `dhrd train`"
        )
    manifest = read_small_json(path)
    _check_format(path, manifest.pop("format_version", None))
    try:
        with reading(path):
            InputTemplate(str(manifest.get("input_template", "")), setting="input_template")
        info = ArtifactInfo.model_validate_json(json.dumps(_of_today(manifest)))  # as JSON, a list may be a tuple
    except (ValidationError, UserError) as error:
        raise _damaged(path, _problems_of(error) if isinstance(error, ValidationError) else str(error)) from error
    if info.digests and info.digests.get(LABELS) != names_digest(info.labels.names):
        raise ArtifactError(
            f"{path}: the label names, or their order, are not those of the training: copy the artifact again; {UNBIND}"
        )
    return info


def check_has_classifier(directory: Path, info: ArtifactInfo) -> None:
    """Refuse an artifact without a classifier for torch.

    Raises:
        ArtifactError: It has no classifier, or is an export.
    """
    if info.kind == "causal_lm":
        raise ArtifactError(
            f"{directory}: trained with loss.classification_weight: 0, so it has no classifier; use its "
            f"reasoning head: {dhrd_command('evaluate', mode='cot', model=directory)}"
        )
    if info.kind in EXPORTS:
        runtime = "ONNX Runtime" if info.kind == "onnx" else "another runtime"
        raise ArtifactError(
            f"{directory}: an export for {runtime} (docs/export.md); give the artifact it was made from"
        )


def _check_format(path: Path, version: Any) -> None:
    if type(version) is not int or version < 1:
        raise _damaged(path, f"format_version: field required, a number above 0, got {shown(version)}")
    if version > FORMAT_VERSION:
        raise ArtifactError(
            f"{path}: format {shown(version)} is newer than this dhrd supports ({FORMAT_VERSION}); upgrade dhrd"
        )


def _damaged(path: Path, what: str) -> ArtifactError:
    return ArtifactError(f"{path}: damaged ({what}); download or write the artifact again")


def _of_today(manifest: dict[str, Any]) -> dict[str, Any]:
    """Add fields missing from older manifests: unsorted label names were in their author's order."""
    labels = manifest.get("labels")
    if not isinstance(labels, dict) or "ordered" in labels or not isinstance(names := labels.get("names"), list):
        return manifest
    return manifest | {"labels": labels | {"ordered": names != sorted(names, key=str)}}


def _problems_of(error: ValidationError) -> str:
    """The first invalid fields, each with name, problem and value."""
    problems = error.errors(include_url=False, include_context=False)
    told = [_problem(item["loc"], item["msg"], item["input"]) for item in problems[:_NUM_SHOWN]]
    return "; ".join(told) + (f" and {len(problems) - _NUM_SHOWN} more" if len(problems) > _NUM_SHOWN else "")


def _problem(location: tuple[int | str, ...], message: str, value: object) -> str:
    location = tuple(part for part in location if part not in (_ONE, _SEVERAL))
    name, _, said = message.partition(", ")
    if name in ("Value error", "Assertion failed"):
        return ".".join(map(str, location[:1])) + ": " * bool(location) + said
    return f"{'.'.join(map(str, location))}: {message[:1].lower()}{message[1:]}, got {shown(value)}"


def stock_class(config: Any) -> type[PreTrainedModel] | None:
    """The family's `…ForSequenceClassification` class, if it has one."""
    from transformers import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING

    try:
        return MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING[type(config)]
    except KeyError:
        return None
