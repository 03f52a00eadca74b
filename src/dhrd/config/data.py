"""The settings of the rows: where they come from, and how each becomes a sequence."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from dhrd._text import shown
from dhrd.config.section import Count, FileName, LabelNames, Part, Section, Share


class DataSettings(Section):
    """Where the rows come from and how a row becomes a sequence."""

    train: FileName | None = None
    """`superglue:TASK`, `policy_desk:rows=N,hops=H,noise=P,seed=S`, `hub:NAME[:CONFIG]`, or a .json, .jsonl, .csv,
    .tsv or .parquet file (plain or .gz), or a directory of such files; `-`: JSON lines from standard input."""
    validation: FileName | None = None
    """As `train`. With `superglue:`, `policy_desk:` and `hub:` it means the validation split."""
    test: FileName | None = None
    """As `train`; only `dhrd evaluate --split test` reads it."""
    rationales: FileName | None = None
    """A JSONL file of `id`, `rationale` and `input_digest`, joined to the training rows by id and digest."""
    superglue_root: FileName | None = None
    """The folder that holds CB/train.jsonl and so on; null: the hub, when online."""
    csv_delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    """What stands between the fields of .csv files: one character, or `tab`."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Our field -> your column, for `input_text`, `label`, `rationale`, `id`, `group`, `weight`."""
    input_template: str = "{{ input_text }}"
    """Jinja2 over the row's columns; what the classifier reads, in training and at inference."""
    chat: bool = False
    """Wrap the rendered text in the tokenizer's chat template, as one user turn."""
    labels: LabelNames | None = None
    """The label names in the order of the head; null: a ClassLabel's own, or found in the training rows and sorted
    (integers by number). An integer in a row is the name that it spells; where no name here is an integer, it is a
    place in this list, counted from 0."""
    label_separator: Annotated[str, Field(min_length=1)] | None = None
    """Splits a label's text into several labels: `"|"` reads `a|b` as a and b; null: text is one label."""
    multi_label: bool = False
    """Whether a row may have several labels although none is a list: shares are then a probability for each label."""
    max_input_tokens: Count = 512
    """Longer inputs are shortened: plain text on the right, templated rows in their longest field."""
    max_sequence_tokens: Count = 1024
    """Input + rationale + answer; the rationale is cut, the answer never."""
    rationale_mode: Literal["aligned", "label_only", "shuffled", "shuffled_with_label"] = "aligned"
    """The paper's Table 2: which rationale (and label) a row is trained on."""
    train_limit: Count | None = None
    """Use only the first rows."""
    train_share: Part = 1.0
    """Use only this share of the training rows, drawn by the seed, stratified; smaller shares are parts of larger."""
    rationale_share: Annotated[float, Field(ge=0.0, le=1.0)] = 1.0
    """Keep the rationales of this share of the rows that have one, drawn by the seed; the rest learn their label."""
    label_noise: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    """Give this share of the training rows, drawn by the seed, a label drawn from all; their rationales stay."""
    validation_limit: Count | None = None
    """Use only the first rows."""
    dev_share: Share = 0.0
    """Cut this share, stratified and in whole groups, off train, for every choice; validation stays for reporting."""

    @field_validator("csv_delimiter", mode="before")
    @classmethod
    def _tab_by_name(cls, value: object) -> object:
        if value in ('"', "\n", "\r"):
            raise ValueError("quotes and line ends cannot stand between fields; give another character, or `tab`")
        return "\t" if value in ("tab", "\\t") else value

    @field_validator("columns")
    @classmethod
    def _known_columns(cls, value: dict[str, str]) -> dict[str, str]:
        allowed = {"input_text", "label", "rationale", "id", "group", "weight"}
        if unknown := sorted(set(value) - allowed):
            raise ValueError(f"maps unknown field {shown(unknown[0])}; fields are {', '.join(sorted(allowed))}")
        return value

    @model_validator(mode="after")
    def _check(self) -> DataSettings:
        if self.max_sequence_tokens < self.max_input_tokens:
            raise ValueError(
                f"max_sequence_tokens ({self.max_sequence_tokens}) is smaller than max_input_tokens "
                f"({self.max_input_tokens}); the sequence holds the input, so raise the one or lower the other"
            )
        return self
