"""The bodies of requests and answers: those of vLLM's `/classify` and TEI's `/predict`, and our own."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

ServedRow = Annotated[
    str | dict[str, JsonValue],
    Field(description="A text, or an object of the columns that the classifier's template reads; see /info."),
]
Label = Annotated[
    str | list[str] | dict[str, str | list[str]] | None,
    Field(
        description="A label's name, a list of them for multi-label, of several tasks those by task, or null where the "
        "classifier abstained."
    ),
]


class _Body(BaseModel):
    """A request: its values are taken as they are, fields that we do not know are left alone."""

    model_config = ConfigDict(strict=True)


class ClassifyRequest(_Body):
    """Of vLLM's `/classify`."""

    input: ServedRow | Annotated[list[ServedRow], Field(min_length=1)]
    model: str | None = Field(None, description="The served model's name, or nothing.")


class ClassifiedRow(BaseModel):
    """One row of an answer."""

    index: int
    label: Label
    probs: list[float] = Field(description="In the order of /info's labels.")
    num_classes: int
    abstained: bool = Field(description="The artifact's decision leaves this row to someone else.")
    label_set: list[str] | None = Field(
        description="The labels that the row may have, where the decision has such sets."
    )
    truncated: bool = Field(description="The row was over the artifact's limit and was shortened.")


class Usage(BaseModel):
    """Tokens of a request."""

    prompt_tokens: int
    total_tokens: int
    completion_tokens: Literal[0] = 0
    prompt_tokens_details: None = None


class ClassifyResponse(BaseModel):
    """Of vLLM's `/classify`, with what a decision says."""

    id: str
    object: Literal["list"] = "list"
    created: int = Field(description="Seconds since 1970.")
    model: str
    data: list[ClassifiedRow]
    usage: Usage


class PredictRequest(_Body):
    """Of TEI's `/predict`: a list of two texts would be a pair, so that texts of a batch are lists of one."""

    inputs: ServedRow | Annotated[list[ServedRow | list[str]], Field(min_length=1)]
    truncate: bool | None = Field(
        None, description="true: shorten rows over the artifact's limit, false: refuse them, null: as the server does."
    )
    raw_scores: bool = Field(False, description="Not given: scores are probabilities.")


class LabelScore(BaseModel):
    """A label and its probability."""

    score: float
    label: str


class ExplainRequest(_Body):
    """What the reasoning head is asked."""

    input: ServedRow | Annotated[list[ServedRow], Field(min_length=1)]
    max_new_tokens: int | None = Field(None, ge=1, description="Of a rationale and its answer; null: the limit.")


class ExplainedRow(BaseModel):
    """What the reasoning head wrote about a row: an illustration, not the cause of the label."""

    index: int
    rationale: str
    answer: Label = Field(description="The label that the rationale comes to; null where it cannot be read.")
    label: Label = Field(description="The classifier's own.")
    note: str


class ExplainResponse(BaseModel):
    """Explanations in the order of the rows."""

    model: str
    data: list[ExplainedRow]


class ServedLimits(BaseModel):
    """What the server takes on."""

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
    labels: list[str] = Field(description="As its answers name them; in `labels`, in this order, as task/label.")
    multi_label: bool


class Info(BaseModel):
    """What is served."""

    model: str
    labels: list[str]
    tasks: list[ServedTask] = Field(description="Side by side in `labels`; none: there is one task.")
    multi_label: bool
    columns: list[str] = Field(description="That the template reads.")
    input_template: str
    max_input_tokens: int
    calibration: dict[str, float]
    decision: dict[str, JsonValue] | None = Field(
        description="Which rows are answered, as dhrd.json has it; null: all."
    )
    explains: bool = Field(description="Whether /v1/explain answers.")
    device: str
    dtype: str
    version: str
    limits: ServedLimits


class Status(BaseModel):
    """Whether the server is there."""

    status: Literal["ok"] = "ok"


class Problem(BaseModel):
    """Why a request was not answered."""

    type: str = Field(description="A word for programs.")
    message: str = Field(description="What was wrong and what to do.")
    param: str | None = Field(description="Which part of the body.")
    code: int = Field(description="The status of HTTP.")


class ErrorResponse(BaseModel):
    """Every answer but those of 200."""

    error: Problem
