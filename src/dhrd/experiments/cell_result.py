"""What a finished cell is: the numbers of its file, and the answers that they come from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer

from dhrd.data.digest import fingerprint
from dhrd.data.rows import Rows
from dhrd.data.sequence import EncodedData
from dhrd.errors import DataError
from dhrd.metrics.outcomes import Outcomes

FORMAT_VERSION = 1

Metrics = dict[str, Any]
"""As `dhrd.metrics.metrics` gives them."""
CurveRow = dict[str, int | float]
"""A step and its losses by name."""
_Outcomes = Annotated[
    Outcomes,
    BeforeValidator(lambda given: given if isinstance(given, Outcomes) else Outcomes.from_json(given)),
    PlainSerializer(Outcomes.to_json),
]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)


class CellSpeed(_Part):
    """Queries per second: the median of the repeats, with the slowest and the fastest."""

    queries_per_second: float
    min: float
    max: float
    num_queries: int
    num_repeats: int
    engine: str
    mean_new_tokens: float = 0.0
    unparsable_share: float | None = None


class CellData(_Part):
    """The rows of a cell and what encoding made of them; the hashes are of tokens in order."""

    num_train: int
    num_with_rationale: int
    num_validation: int = 0
    num_inputs_cut: int = 0
    num_rationales_cut: int = 0
    train_tokens_hash: str = ""
    validation_tokens_hash: str = ""

    @classmethod
    def of(cls, rows: Rows, train: EncodedData, held_out: EncodedData) -> CellData:
        """Create one from rows, and from the encoded training and held-out rows."""
        return cls(
            num_train=len(train),
            num_with_rationale=sum(bool(example.rationale) for example in rows.train),
            num_validation=len(held_out),
            num_inputs_cut=train.num_inputs_cut + held_out.num_inputs_cut,
            num_rationales_cut=train.num_rationales_cut,
            train_tokens_hash=fingerprint(train.examples),
            validation_tokens_hash=fingerprint(held_out.examples),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What a cell answers to its held-out rows; where answers are decoded, at what speed."""

    metrics: Metrics
    outcomes: Outcomes
    speed: CellSpeed | None = None


class CellNumbers(_Part):
    """The results of a cell.

    Args:
        speed: Speed, if the arm measures it.
        metrics: Metrics on the held-out rows.
        outcomes: Outcomes on the held-out rows.
        selected_on: Whether the held-out rows also served a choice.
        data: The rows.
        curve: Training losses by step, thinned.
        held_out_curve: Held-out metrics by step.
        steps: Number of updates.
        temperature: Temperature that the head's logits were divided by.
        train_tokens: Tokens processed in the updates.
    """

    speed: CellSpeed | None = None
    metrics: Metrics
    outcomes: _Outcomes
    selected_on: bool
    data: CellData
    curve: list[CurveRow]
    held_out_curve: list[CurveRow] = []
    steps: int
    temperature: float | None = None
    train_tokens: int


class CellResult(CellNumbers):
    """A finished cell: its numbers, and how they were obtained.

    Args:
        seconds: Seconds by activity, and in `total`.
        device: Device that it was run on.
        precision: Precision of the training.
        threads: Number of torch threads.
        versions: Versions of the libraries.
        created: Time of creation, in UTC.
    """

    seconds: dict[str, float]
    device: str
    precision: str | None
    threads: int
    versions: dict[str, str]
    created: str = ""

    @property
    def headline(self) -> str:
        """The first official metric, else accuracy, as `name value`."""
        metric = (self.metrics["official"] or ["accuracy"])[0]
        return f"{metric} {self.metrics[metric]:.3f}"


def read_cell(path: Path) -> CellResult:
    """A cell's file.

    Raises:
        DataError: It is damaged, or has a newer format.
    """
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
        version = given["format_version"]
        result = CellResult.model_validate(given) if version <= FORMAT_VERSION else None
    except (OSError, ValueError, KeyError, TypeError, DataError) as error:
        why = " ".join(str(error).split())
        raise DataError(f"{path}: damaged ({why}); remove the file and run the same command again") from error
    if result is None:
        raise DataError(f"{path}: format {version} is newer than this dhrd supports ({FORMAT_VERSION}); upgrade dhrd")
    return result
