"""The files of `dhrd evaluate --predictions` as outcomes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dhrd._text import dhrd_command
from dhrd.data.label_names import sort_names
from dhrd.data.readers import read_file
from dhrd.data.records import LabelSet
from dhrd.data.row import BadRow, Row
from dhrd.errors import DataError
from dhrd.metrics.outcomes import Indices, Outcomes, groups_if_any, outcomes_of_indices, predicted_by

_GIVE = f"give a file that `{dhrd_command('evaluate', predictions=True)}` wrote"


def read_together(paths: Sequence[Path], labels: LabelSet | None = None) -> list[Outcomes]:
    """Read files that `dhrd evaluate --predictions` wrote, with one label set for all of them.

    Args:
        paths: JSON lines of `id`, `gold`, `label` (null where no answer could be read; a list for multi-label) and,
            from a classifier, `probabilities`; `group`, where the row has one. On a row that is `abstained` the label
            is that of its probabilities.
        labels: The label set; None: the names in `probabilities`, in their order, else all that occur, sorted.

    Raises:
        DataError: A file is missing or empty, or a row is malformed or duplicate; the message names file:line.
    """
    files = [_rows(path) for path in paths]
    labels = labels or _labels([row for rows in files for row in rows])
    return [_outcomes(rows, labels) for rows in files]


def _rows(path: Path) -> list[Row]:
    rows = []
    for row in read_file(path):
        if isinstance(row, BadRow):
            raise DataError(f"{row.where}: {row.problem}")
        for key in ("id", "gold", "label"):
            if key not in row.columns:
                raise DataError(f"{row.where}: {key}: missing; {_GIVE}")
        rows.append(row)
    if not rows:
        raise DataError(f"{path}: there are no rows; {_GIVE}")
    return rows


def _labels(rows: Sequence[Row]) -> LabelSet:
    """The label set: a classifier's file names all labels, which then also apply to files of written answers."""
    if isinstance(rows[0].columns["gold"], dict):
        raise DataError(f"{rows[0].where}: gold: of several tasks; files of one task each can be compared")
    multi_label = isinstance(rows[0].columns["gold"], list)
    for row in rows:
        probabilities = row.columns.get("probabilities")
        if isinstance(probabilities, dict) and len(probabilities) > 1:
            return LabelSet(tuple(probabilities), multi_label=multi_label)
    seen = {name for row in rows for key in ("gold", "label") for name in _names(row, key) or ()}
    return LabelSet(tuple(sort_names(seen)), multi_label=multi_label)


def _names(row: Row, key: str) -> list[str] | None:
    """The label names of a row's `gold` or `label`; None if the answer could not be read."""
    value = row.columns[key]
    if value is None and key == "label":
        return None
    names = value if isinstance(value, list) else [value]
    texts = [name for name in names if isinstance(name, str)]
    if len(texts) < len(names):
        raise DataError(f"{row.where}: {key}: {value!r} is not the name of a label; correct the row, or evaluate again")
    return texts


def _outcomes(rows: Sequence[Row], labels: LabelSet) -> Outcomes:
    gold, predicted = ([_classes(row, key, labels) for row in rows] for key in ("gold", "label"))
    probabilities = [_probabilities(row, labels) for row in rows]
    known = [p for p in probabilities if p is not None]
    group_B = groups_if_any(map(_group, rows))
    return outcomes_of_indices(_ids(rows), gold, predicted, labels, known if len(known) == len(rows) else None, group_B)


def _group(row: Row) -> str | None:
    group = row.columns.get("group")
    if group is not None and not isinstance(group, str):
        raise DataError(f"{row.where}: group: {group!r} is not text; correct the row, or evaluate again")
    return group


def _ids(rows: Sequence[Row]) -> list[str]:
    first: dict[str, str] = {}
    for row in rows:
        name = row.columns["id"]
        if not isinstance(name, str) or not name:
            raise DataError(f"{row.where}: id: {name!r} is not text; rows are matched by it: correct the row")
        if name in first:
            raise DataError(f"{row.where}: id: {name!r} is there twice, first in {first[name]}; keep one of the rows")
        first[name] = row.where
    return list(first)


def _classes(row: Row, key: str, labels: LabelSet) -> Indices | None:
    if key == "label" and row.columns.get("abstained") is True:
        return _withheld(row, labels)
    names = _names(row, key)
    if names is None:
        return None
    if isinstance(row.columns[key], list) != labels.multi_label:
        given, wanted = ("one label", "a list") if labels.multi_label else ("a list", "one label")
        raise DataError(f"{row.where}: {key}: {given} ({row.columns[key]!r}) where {wanted} is expected")
    unknown = [name for name in names if name not in labels.names]
    if unknown:
        raise DataError(
            f"{row.where}: {key}: {unknown[0]!r} is unknown; labels are {', '.join(map(repr, labels.names))}: compare "
            "models of one label set"
        )
    return tuple(sorted({labels.names.index(name) for name in names}))


def _withheld(row: Row, labels: LabelSet) -> Indices | None:
    """The answer that a decision withheld: models are compared on all rows, as `evaluate` scores them."""
    p_C = _probabilities(row, labels)
    if p_C is None:
        return None
    (hot_C,) = predicted_by(np.array([p_C]), labels.slices[0])
    return tuple(hot_C.nonzero()[0].tolist())


def _probabilities(row: Row, labels: LabelSet) -> list[float] | None:
    given = row.columns.get("probabilities")
    if given is None:
        return None
    if not isinstance(given, dict) or set(given) != set(labels.names):
        raise DataError(
            f"{row.where}: probabilities: an object with a number for each of {', '.join(map(repr, labels.names))} is "
            f"expected, got {str(given)[:60]}"
        )
    for name, p in given.items():
        if isinstance(p, bool) or not isinstance(p, int | float) or not math.isfinite(p):
            raise DataError(f"{row.where}: probabilities: {name}: {p!r} is not a finite number; evaluate again")
    return [float(given[name]) for name in labels.names]
