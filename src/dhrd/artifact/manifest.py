"""The fields of `dhrd.json`, checked one by one: the file may come from a stranger, or be damaged."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from dhrd._text import shown
from dhrd.config.schema import Pooling
from dhrd.data.superglue import TASKS

Kind = Literal["sequence_classifier", "dhrd_classifier", "causal_lm", "onnx"]
_Tokens = Annotated[int, Field(ge=1, le=2**31 - 1)]
_Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Text = Annotated[str, Field(min_length=1)]
_NUM_SHOWN = 3  # wrong fields


class _Checked(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class _Labels(_Checked):
    names: Annotated[list[_Text], Field(min_length=2)]
    words: list[_Text]
    multi_label: bool
    ordered: bool = False

    @model_validator(mode="after")
    def _one_word_a_name(self) -> _Labels:
        if len(set(self.names)) < len(self.names):
            raise ValueError(f"names: some are given twice ({shown(self.names)})")
        if len(self.words) != len(self.names):
            raise ValueError(f"there are {len(self.words)} words for {len(self.names)} names")
        return self


class _Sequence(_Checked):
    reason: str = "\n\nReasoning: "
    answer: str = "\nAnswer: "
    order: Literal["reason_first", "label_first"] = "reason_first"
    visible_input_tokens: _Tokens | None = None


class _SelectedOn(_Checked):
    rows: str | None = None
    fingerprint: str | None = None


class _Training(_Checked):
    model_config = ConfigDict(extra="allow")
    backbone: str | None = None
    classification_weight: _Weight | None = None
    reasoning_weight: _Weight | None = None
    selected_on: _SelectedOn | None = None
    metrics: dict[str, Any] | None = None


class Manifest(_Checked):
    """What `dhrd.json` holds; fields that an older dhrd did not write have their defaults. See `ArtifactInfo`."""

    format_version: Annotated[int, Field(ge=1)]
    kind: Kind
    labels: _Labels
    input_template: str = "{{ input_text }}"
    columns: dict[str, str] = {}
    chat: bool = False
    max_input_tokens: _Tokens = 512
    max_sequence_tokens: _Tokens = 1024
    head: Literal["linear", "mlp"] = "linear"
    pooling: Pooling = "last"
    task: str | None = None
    sequence: _Sequence = _Sequence()
    calibration: dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = {"temperature": 1.0}
    training: _Training = _Training()
    versions: dict[str, str] = {}

    @field_validator("task")
    @classmethod
    def _known_task(cls, task: str | None) -> str | None:
        if task is not None and task not in TASKS:
            raise ValueError(f"known are {', '.join(TASKS)}")
        return task

    @model_validator(mode="after")
    def _stock_head(self) -> Manifest:
        if self.kind == "sequence_classifier" and (self.head, self.pooling) != ("linear", "last"):
            raise ValueError("kind: a sequence_classifier has head linear and pooling last")
        return self


def problems_of(error: ValidationError) -> str:
    """The first wrong fields: name, what is wrong, value."""
    found = error.errors(include_url=False, include_context=False)
    told = [_problem(item["loc"], item["msg"], item["input"]) for item in found[:_NUM_SHOWN]]
    return "; ".join(told) + (f" and {len(found) - _NUM_SHOWN} more" if len(found) > _NUM_SHOWN else "")


def _problem(location: tuple[int | str, ...], message: str, value: Any) -> str:
    if message.startswith("Value error, "):
        return ".".join(map(str, location[:1])) + ": " * bool(location) + message.removeprefix("Value error, ")
    return f"{'.'.join(map(str, location))}: {message[:1].lower()}{message[1:]}, got {shown(value)}"
