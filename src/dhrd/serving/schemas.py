"""The bodies of requests and responses: those of vLLM's `/classify` and TEI's `/predict`, and dhrd's own."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

ServedRow = Annotated[
    str | dict[str, JsonValue],
    Field(description="A text, or an object with the columns that the classifier's template reads; see /info."),
]
Label = Annotated[
    str | list[str] | dict[str, str | list[str]] | None,
    Field(
        description="A label; for multi-label a list; for several tasks an object of these by task; null if the "
        "classifier abstained."
    ),
]


_Texts = Annotated[list[str], Field(fail_fast=True)]  # all errors of a long list would take gigabytes


class _Body(BaseModel):
    """Base of requests: values are not coerced, and unknown fields are ignored."""

    model_config = ConfigDict(strict=True)


class ClassifyRequest(_Body):
    """A request to vLLM's `/classify`."""

    input: ServedRow | Annotated[list[ServedRow], Field(min_length=1, fail_fast=True)]
    model: str | None = Field(None, description="The served model's name; optional.")


class ClassifiedRow(BaseModel):
    """One row of an answer."""

    index: int
    label: Label
    probs: list[float] = Field(description="Probabilities, in the order of the labels of /info.")
    num_classes: int
    abstained: bool = Field(description="Whether the artifact's decision abstained on this row.")
    label_set: list[str] | None = Field(
        description="The set of labels that the row may have, if the decision has sets."
    )
    truncated: bool = Field(description="Whether the row exceeded the artifact's limit and was truncated.")


class Usage(BaseModel):
    """Tokens of a request."""

    prompt_tokens: int
    total_tokens: int
    completion_tokens: Literal[0] = 0
    prompt_tokens_details: None = None


class ClassifyResponse(BaseModel):
    """A response of vLLM's `/classify`, extended by the decision."""

    id: str
    object: Literal["list"] = "list"
    created: int = Field(description="Seconds since 1970.")
    model: str
    data: list[ClassifiedRow]
    usage: Usage


class PredictRequest(_Body):
    """A request to TEI's `/predict`. A list of two texts would be a pair, so the texts of a batch are lists of one."""

    inputs: ServedRow | Annotated[list[ServedRow | _Texts], Field(min_length=1, fail_fast=True)]
    truncate: bool | None = Field(
        None,
        description="false: refuse rows over the artifact's limit; else truncate them, unless the server is strict.",
    )
    raw_scores: bool = Field(False, description="Not supported: scores are probabilities.")


class LabelScore(BaseModel):
    """A label and its probability."""

    score: float
    label: str


class ExplainRequest(_Body):
    """A request for explanations."""

    input: ServedRow | Annotated[list[ServedRow], Field(min_length=1, fail_fast=True)]
    max_new_tokens: int | None = Field(
        None, ge=1, description="Maximum tokens of rationale and answer; null: the server's limit."
    )


class ExplainedRow(BaseModel):
    """A row's rationale, written by the reasoning head: an illustration, not the cause of the label."""

    index: int
    rationale: str
    answer: Label = Field(description="The label that the rationale concludes; null if it cannot be parsed.")
    label: Label = Field(description="The classifier's label, as of /classify; null if the decision abstained.")
    note: str


class ExplainResponse(BaseModel):
    """Explanations in the order of the rows."""

    model: str
    data: list[ExplainedRow]


class ServedLimits(BaseModel):
    """The server's limits."""

    max_rows: int
    max_bytes: int
    max_requests: int
    max_queue_tokens: int
    deadline_s: float
    max_explained_rows: int
    max_new_tokens: int


class ServedTask(BaseModel):
    """One of several tasks."""

    name: str
    labels: list[str] = Field(
        description="Names used in responses; in `labels` they appear in this order as task/label."
    )
    multi_label: bool


class Info(BaseModel):
    """The served model."""

    model: str
    labels: list[str]
    tasks: list[ServedTask] = Field(
        description="The tasks, whose labels are concatenated in `labels`; empty for a single task."
    )
    multi_label: bool
    columns: list[str] = Field(description="The columns that the template reads.")
    input_template: str
    max_input_tokens: int
    calibration: dict[str, float]
    decision: dict[str, JsonValue] | None = Field(
        description="The decision on which rows are answered, as in dhrd.json; null: all rows are."
    )
    explains: bool = Field(description="Whether /v1/explain answers.")
    device: str
    dtype: str
    version: str
    limits: ServedLimits


class Status(BaseModel):
    """The server's status."""

    status: Literal["ok"] = "ok"


class Problem(BaseModel):
    """Why a request was not answered."""

    type: str = Field(description="A machine-readable code.")
    message: str = Field(description="What was wrong and what to do.")
    param: str | None = Field(description="The part of the body concerned.")
    code: int = Field(description="The HTTP status.")


class ErrorResponse(BaseModel):
    """The body of every response with a status other than 200."""

    error: Problem
