"""The labels of a task: from a row's label to its places in the head, and from what was written back to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from dhrd._text import shown
from dhrd.data.label_names import (
    Shares,
    as_integer,
    as_label,
    bits,
    fold,
    is_zeros_and_ones,
    listed,
    multi_hot_problem,
    places_of,
)
from dhrd.data.wording import wording
from dhrd.errors import DataError


@dataclass(frozen=True, slots=True)
class ByTask:
    """A row's labels of several tasks.

    Args:
        labels: Task -> label; a task that the row has no label of is left out.
    """

    labels: Mapping[str, Label]


Label = int | str | tuple[str, ...] | tuple[int, ...] | Mapping[str, object] | Shares | ByTask


@dataclass(frozen=True, slots=True)
class LabelSlice:
    """The labels of one task, and their places in the head.

    Args:
        name: The task's name; "" if it is the only one.
        start: Place of its first label.
        labels: Its label set.
    """

    name: str
    start: int
    labels: LabelSet

    @property
    def columns(self) -> slice:
        """Its labels' places."""
        return slice(self.start, self.start + len(self.labels))

    def is_in(self, label: Label) -> bool:
        """Whether a row with this label has one of the task."""
        return not isinstance(label, ByTask) or self.name in label.labels

    def own(self, indices: Sequence[int]) -> tuple[int, ...]:
        """Those of a row's class indices that are this task's, as indices of its own label set."""
        return tuple(index - self.start for index in indices if 0 <= index - self.start < len(self.labels))


@dataclass(frozen=True, slots=True)
class LabelSet:
    """The labels of a task.

    Args:
        names: Label names in the order of their places in the head; `id2label` of the artifact.
        words: How the reasoning head writes each label; the names unless a task specifies otherwise.
        multi_label: Whether a row may have several (or none).
        ordered: Whether the user or data set gave the order (`data.labels`, a ClassLabel, a task), so that an integer
            that is not a name may be a place in it. False: the names were sorted here, and no user saw their places.
    """

    names: tuple[str, ...]
    words: tuple[str, ...] = ()
    multi_label: bool = False
    ordered: bool = True

    def __post_init__(self) -> None:
        if not self.words:
            object.__setattr__(self, "words", self.names)
        assert len(self.words) == len(self.names), f"{len(self.words)} words for {len(self.names)} names"

    def __len__(self) -> int:
        return len(self.names)

    @property
    def slices(self) -> tuple[LabelSlice, ...]:
        """The tasks side by side: this one alone."""
        return (LabelSlice("", 0, self),)

    def slice_of(self, task: str | None) -> LabelSlice:
        """A task by its name; the first where it has none of that name."""
        return next((own for own in self.slices if own.name == task), self.slices[0])

    def unlabelled(self, label: Label) -> tuple[int, ...]:
        """The numbers of the tasks that a row with this label has none of."""
        return tuple(number for number, own in enumerate(self.slices) if not own.is_in(label))

    def encode(self, label: Label, where: str = "") -> tuple[int, ...]:
        """A row's label as a tuple of class indices, of length one unless multi-label.

        Of shares, the most probable label, the first in the set's order if tied; with several labels per row, those
        with a probability of at least one half.

        Raises:
            DataError: The label is unknown or of the wrong kind.
        """
        given = _given(label, where)
        if isinstance(given, Shares):
            share_C = self._probabilities(given, where)
            likely = (index for index, share in enumerate(share_C) if share >= 0.5)
            return tuple(likely) if self.multi_label else (share_C.index(max(share_C)),)
        if isinstance(given, tuple) != self.multi_label:
            kinds = ("a list", "one label") if isinstance(given, tuple) else ("one label", "a list of labels")
            raise DataError(f"{where}: label: {kinds[0]} ({shown(label)}) where the other rows have {kinds[1]}")
        names = given if isinstance(given, tuple) else (given,)
        hot = self._multi_hot(names, where) if self.multi_label and is_zeros_and_ones(names) else None
        return hot if hot is not None else tuple(sorted({self._index(name, where) for name in names}))

    def shares(self, label: Label, where: str = "") -> tuple[float, ...] | None:
        """The probability of each label of a row whose label is shares, votes divided by their sum; else None.

        With several labels a row each has a probability of its own.

        Raises:
            DataError: As `encode`.
        """
        given = _given(label, where)
        return self._probabilities(given, where) if isinstance(given, Shares) else None

    def _probabilities(self, given: Shares, where: str) -> tuple[float, ...]:
        share_C = [0.0] * len(self)
        for name, value in zip(given.names, given.values, strict=True):
            share_C[self._index(name, where)] += value
        if self.multi_label:
            if max(share_C) > 1:
                raise DataError(
                    f"{where}: label: {max(share_C):g} is not a probability; for multi-label rows, divide "
                    "each label's votes by the number of voters"
                )
            return tuple(share_C)
        if not (total := sum(share_C)):
            raise DataError(f"{where}: label: all shares are 0; give one of them a vote, or leave the row out")
        return tuple(share / total for share in share_C)

    def named(self, label: Label, where: str = "") -> str | tuple[str, ...]:
        """A row's label by name, or names.

        Raises:
            DataError: As `encode`.
        """
        names = tuple(self.names[index] for index in self.encode(label, where))
        return names if self.multi_label else names[0]

    def _index(self, name: str, where: str) -> int:
        places = places_of(self.names)
        if (index := places.get(name)) is not None:
            return index
        place = as_integer(name)
        if place is not None and not any(as_integer(other) is not None for other in self.names):
            if self.ordered and 0 <= place < len(self.names):
                return place
            raise DataError(f"{where}: label: {self._no_place(place)}")
        alike = next((f"; {shown(other)} differs from it only in case or space" for other in self.names
                      if fold(other) == fold(name)), "")  # fmt: skip
        raise DataError(
            f"{where}: label: {shown(name)} is unknown; labels are {listed(self.names)}{alike} "
            "(correct the row; for training, data.labels may list more)"
        )

    def _no_place(self, place: int) -> str:
        if self.ordered:
            return f"{place} is out of range; labels are 0 to {len(self.names) - 1}"
        return (
            f"labels are names here, {listed(self.names)}; {place} is not one of them "
            "(write the name, or train with data.labels or a ClassLabel, which define what an integer means)"
        )

    def _multi_hot(self, values: tuple[str, ...], where: str) -> tuple[int, ...] | None:
        """The classes of a row of 0 and 1, one for each label; None: it is a list of labels."""
        repeats, fits = len(set(values)) < len(values), self.ordered and len(values) == len(self)
        if fits and repeats:
            return tuple(index for index, value in enumerate(values) if value == "1")
        if fits:
            raise DataError(f"{where}: label: {bits(values)} is multi-hot, or lists both labels; list the names")
        if repeats:
            raise DataError(f"{where}: label: {multi_hot_problem(values)}; these rows have {len(self)} labels")
        return None

    def write(self, indices: Sequence[int]) -> str:
        """The answer as the reasoning head writes it: y of the sequence (paper, section 3)."""
        return wording(self.words, self.names).write([self.words[index] for index in indices])

    def read(self, answer: str) -> tuple[int, ...] | None:
        """The class indices that an answer names, the inverse of `write`; None where it cannot be read.

        Its first line must be a label's word or name, and nothing else but a heading, markup, or a remark in brackets.
        """
        return wording(self.words, self.names).read(answer, multi_label=self.multi_label)

    def respelled(self, spell: Callable[[Sequence[str]], Sequence[str]]) -> LabelSet:
        """The same labels in the same places, by other names and words, to read by."""
        return replace(self, names=tuple(spell(self.names)), words=tuple(spell(self.words)))


def _given(label: Label, where: str) -> str | tuple[str, ...] | Shares:
    try:
        given = as_label(label)
    except ValueError as error:
        raise DataError(f"{where}: {error}") from None
    if given is None:
        raise DataError(f"{where}: label: missing")
    return given
