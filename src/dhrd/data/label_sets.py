"""The label set of training rows: given or found, checked before anything of its size exists, and doubted aloud."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from dhrd._text import shown
from dhrd.data.label_names import (
    Shares,
    as_integer,
    as_label,
    clean_name,
    fold,
    is_zeros_and_ones,
    listed,
    multi_hot_problem,
    sort_names,
    spelled,
)
from dhrd.data.labels import LabelSet
from dhrd.data.records import Example
from dhrd.data.wording import wording
from dhrd.errors import DataError

MOST_LABELS = 1000
"""More labels that were found, not given, are a question."""

_FEW_ROWS = 20
"""With no more rows than this, a label a row may be."""

_FEWEST_ROWS = 4
"""With fewer rows than this, a label a row is no doubt: the smallest examples are such."""


def infer_labels(
    examples: Sequence[Example],
    *,
    names: Sequence[str] | None = None,
    num_labels: int | None = None,
    multi_label: bool = False,
) -> LabelSet:
    """The label set of training rows.

    Args:
        examples: Rows with labels.
        names: Given names, in the order of their places; None: found in the rows, sorted (integers by number).
        num_labels: Number of labels C. If all labels in the rows are integers below it, the labels are 0 to C - 1.
        multi_label: Whether a row may have several; implied if a row has a list.

    Raises:
        DataError: There are fewer than two labels, or their number is not `num_labels`; there are implausibly many
            and `num_labels` is not given; or some are indistinguishable (`check_label_set`).
    """
    given = [label for example in examples if (label := _label_of(example)) is not None]
    multi_label = multi_label or any(isinstance(label, tuple) for label in given)
    counts = count_labels(given)
    ordered = names is not None
    if names is None and num_labels is None:
        _refuse_multi_hot(given)
        _refuse_too_many(counts, len(given))
    classes = _given(names) if names is not None else sort_names(counts)
    if names is None and num_labels is not None and _are_places(classes, num_labels):
        classes, ordered = [str(place) for place in range(num_labels)], True
    if num_labels is not None and num_labels != len(classes):
        raise DataError(
            f"model.num_labels is {num_labels}, but there are {len(classes)} labels ({spelled(classes)}); "
            "correct it or leave it out"
        )
    labels = LabelSet(tuple(classes), multi_label=multi_label, ordered=ordered)
    check_label_set(labels, counts)
    return labels


def check_label_set(labels: LabelSet, counts: Mapping[str, int] | None = None) -> None:
    """Refuse a label set whose labels a person, or a reader of the reasoning head's text, cannot distinguish.

    Args:
        labels: The set.
        counts: Rows of each label, for the message.

    Raises:
        DataError: There are fewer than two labels, one is blank or several lines long, or two differ in case or space
            alone; with several labels a row, no mark is left to put between them.
    """
    names = labels.names
    if len(names) < 2:
        raise DataError(
            f"the training rows have {len(names)} label(s) ({spelled(names)}); a classifier needs at least two"
        )
    for text in (*names, *labels.words):
        if len(text.splitlines()) != 1 or not clean_name(text):
            raise DataError(
                f"label: {shown(text)} is blank or has several lines; names must be a single non-blank line: correct it"
            )
    for texts in (names, labels.words):
        _refuse_twins(texts, counts or {})
    written = wording(labels.words, names)
    if labels.multi_label and (written.separator is None or written.nothing is None):
        missing = "commas, semicolons and bars" if written.separator is None else "every word for no label"
        raise DataError(f"label: the names use {missing}, so several labels cannot be written as text; rename some")


def label_doubts(examples: Sequence[Example], labels: LabelSet) -> Iterator[str]:
    """What a person should check before training on these labels, one line each."""
    counts = +count_labels(
        label if example.shares is None else Shares(labels.names, example.shares)
        for example in examples
        if (label := _label_of(example)) is not None
    )
    num_rows = len(examples)
    is_many = num_rows >= 10 and len(counts) * 2 >= num_rows
    if (is_many or len(counts) == num_rows >= _FEWEST_ROWS) and not labels.multi_label:
        yield f"labels: {len(counts)} in {num_rows} rows; is data.columns.label the right column?"
    if unused := [name for name in labels.names if name not in counts]:
        yield f"labels: no training row has {listed(unused)}"
    integers = [name for name in labels.names if as_integer(name) is not None]
    if integers and len(integers) < len(labels):
        yield f"labels: some are integers ({listed(integers)}) and some are names; is that meant?"
    if looks := [name for name in labels.names if _looks_like_a_list(name, counts)]:
        yield f"labels: {listed(looks)} look like lists; data.label_separator splits text into several labels"


def count_labels(labels: Iterable[str | tuple[str, ...] | Shares]) -> Counter[str]:
    """Rows of each name, those with a share of it among them; a name that has only shares of 0 has 0."""
    counts: Counter[str] = Counter()
    for label in labels:
        if isinstance(label, Shares):
            for name, share in zip(label.names, label.values, strict=True):
                counts[name] += share > 0
        else:
            counts.update(label if isinstance(label, tuple) else (label,))
    return counts


def count_rows(examples: Iterable[Example]) -> Counter[str]:
    """Rows of each label; those without one are not counted."""
    return count_labels(label for example in examples if (label := _label_of(example)) is not None)


def _label_of(example: Example) -> str | tuple[str, ...] | Shares | None:
    try:
        return as_label(example.label)
    except ValueError as error:
        raise DataError(f"{example.where}: {error}") from None


def _given(names: Sequence[str]) -> list[str]:
    """Given names, clean, of which no two may be one then."""
    spellings: dict[str, str] = {}
    for name in names:
        first = spellings.get(clean_name(name))
        if first is not None:
            raise DataError(f"data.labels: {shown(first)} and {shown(name)} are the same label; give one of them")
        spellings[clean_name(name)] = name
    return list(spellings)


def _are_places(names: Sequence[str], num_labels: int) -> bool:
    """Whether all names are integers below the number of labels."""
    places = [as_integer(name) for name in names]
    return all(place is not None and 0 <= place < num_labels for place in places)


def _refuse_multi_hot(labels: Sequence[str | tuple[str, ...] | Shares]) -> None:
    """Without names a row of 0 and 1 says nothing: one that has either twice, or rows that all have both."""
    lists = [label for label in labels if isinstance(label, tuple)]
    repeated = (label for label in lists if len(set(label)) < len(label))
    one_length = len(set(map(len, lists))) == 1 and all(len(label) > 1 and is_zeros_and_ones(label) for label in lists)
    if (odd := next(repeated, lists[0] if one_length else None)) is not None:
        raise DataError(f"label: {multi_hot_problem(odd)}")


def _refuse_too_many(counts: Counter[str], num_rows: int) -> None:
    if len(counts) > MOST_LABELS or len(counts) == num_rows > _FEW_ROWS:
        raise DataError(
            f"the {num_rows} training rows have {len(counts)} labels ({spelled(counts, 3)}); if that is meant, "
            f"give model.num_labels={len(counts)}; if not, correct data.columns.label"
        )


def _refuse_twins(names: Sequence[str], counts: Mapping[str, int]) -> None:
    alike: dict[str, list[str]] = defaultdict(list)
    for name in names:
        alike[fold(name)].append(name)
    twins = [group for group in alike.values() if len(group) > 1]
    if twins:
        said = "; ".join(" and ".join(f"{shown(name)}{_rows(counts, name)}" for name in group) for group in twins[:3])
        raise DataError(f"labels that differ only in case or space: {said}; spell each in one way")


def _rows(counts: Mapping[str, int], name: str) -> str:
    return f" ({counts.get(name, 0)} rows)" if counts else ""


def _looks_like_a_list(name: str, counts: Mapping[str, int]) -> bool:
    """`['a', 'b']`, `('a', 'b')`, `a|b`; or `a, b`, `a;b`, `a/b`, `a+b` where each part is a label too."""
    if re.fullmatch(r"\[.*\]|\{.*\}|\(.*,.*\)", name):
        return True
    parts = [part.strip() for part in re.split("[;,/+&\t]", name)]
    return "|" in name or (len(parts) > 1 and all(part in counts for part in parts))
