"""The data settings: where rows come from, and how each becomes a sequence."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from dhrd._text import shown
from dhrd.config.section import Count, FileName, LabelNames, Part, Section, Share


class DataSettings(Section):
    """Where rows come from, and how each becomes a sequence."""

    train: FileName | None = None
    """`superglue:TASK`, `policy_desk:rows=N,hops=H,noise=P,seed=S`, `hub:NAME[:CONFIG]`, or a .json, .jsonl, .csv,
    .tsv or .parquet file (plain or .gz), or a directory of such files; `-`: JSON lines from standard input."""
    validation: FileName | None = None
    """As `train`; for `superglue:`, `policy_desk:` and `hub:` their validation split is used."""
    test: FileName | None = None
    """As `train`; used only by `dhrd evaluate --split test`."""
    rationales: FileName | None = None
    """A JSONL file with `id`, `rationale` and `input_digest`, joined to the training rows by id and digest."""
    superglue_root: FileName | None = None
    """Directory that contains CB/train.jsonl and so on; null: download from the hub."""
    csv_delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    """Delimiter of .csv files: one character, or `tab`."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Mapping of fields (`input_text`, `label`, `rationale`, `id`, `group`, `weight`) to your column names."""
    input_template: str = "{{ input_text }}"
    """Jinja2 template over the row's columns that renders the classifier's input, in training and at inference."""
    chat: bool = False
    """Wrap the rendered text in the tokenizer's chat template, as a single user turn; any date in it is a fixed one."""
    labels: LabelNames | None = None
    """Label names, in the order of the head's outputs; null: those of a ClassLabel, or the sorted labels of the
    training rows (integers in numeric order). An integer in a row means the name with these digits or, if no name is an
    integer, an index into this list."""
    label_separator: Annotated[str, Field(min_length=1)] | None = None
    """Separator of several labels in one text: with `"|"`, `a|b` means a and b; null: the text is one label."""
    multi_label: bool = False
    """Treat the task as multi-label even if no label is a list; soft labels are then one probability per label."""
    max_input_tokens: Count = 512
    """Longer inputs are truncated: plain text on the right, templated rows in their longest field."""
    max_sequence_tokens: Count = 1024
    """Limit of input + rationale + answer; the rationale is truncated, never the answer."""
    rationale_mode: Literal["aligned", "label_only", "shuffled", "shuffled_with_label"] = "aligned"
    """Which rationale (and label) a row is trained on, as in Table 2 of the paper."""
    train_limit: Count | None = None
    """Use only the first N rows."""
    train_share: Part = 1.0
    """Use only this share of the training rows: a stratified random sample. Smaller shares are subsets of larger
    ones."""
    rationale_share: Annotated[float, Field(ge=0.0, le=1.0)] = 1.0
    """Keep the rationales of this share of the rows that have one, drawn at random; the others train on labels only."""
    label_noise: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    """Replace the labels of this share of the training rows by random ones; their rationales are kept."""
    validation_limit: Count | None = None
    """Use only the first N rows."""
    dev_share: Share = 0.0
    """Hold out this share of train, stratified and in whole groups, for all choices; validation is only reported."""

    @field_validator("csv_delimiter", mode="before")
    @classmethod
    def _tab_by_name(cls, value: object) -> object:
        if value in ('"', "\n", "\r"):
            raise ValueError("quotes and line ends cannot be delimiters; give another character, or `tab`")
        return "\t" if value in ("tab", "\\t") else value

    @field_validator("columns")
    @classmethod
    def _known_columns(cls, value: dict[str, str]) -> dict[str, str]:
        allowed = {"input_text", "label", "rationale", "id", "group", "weight"}
        if unknown := sorted(set(value) - allowed):
            raise ValueError(f"unknown field {shown(unknown[0])}; fields are {', '.join(sorted(allowed))}")
        return value

    @model_validator(mode="after")
    def _check(self) -> DataSettings:
        if self.max_sequence_tokens < self.max_input_tokens:
            raise ValueError(
                f"max_sequence_tokens ({self.max_sequence_tokens}) is smaller than max_input_tokens "
                f"({self.max_input_tokens}); the sequence includes the input, so raise the former or lower the latter"
            )
        return self
