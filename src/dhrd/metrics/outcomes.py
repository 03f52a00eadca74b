"""A model's answers and the gold labels, row by row: the input of every metric and comparison.

Shape legend: B rows, C classes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from dhrd.data.digest import is_digest_id
from dhrd.data.labels import LabelSlice
from dhrd.data.records import EncodedExample, Example, LabelSet
from dhrd.data.rows import multi_hot, one_hot
from dhrd.errors import ArtifactError, DataError

_NUM_DIGITS = 6
Indices = tuple[int, ...]
"""The classes of a row."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcomes:
    """Answers to rows whose labels are known, from a classifier or from text that was written.

    Args:
        ids: The rows' ids.
        gold_BC: 0/1: one-hot, or multi-hot for multi-label.
        predicted_BC: 0/1 as `gold_BC`; all zero where a single-label answer could not be read, so that it is wrong.
        labels: The C labels.
        probabilities_BC: Each label's probability; None where the answers are text.
        readable_B: Whether an answer could be read. Needed only for multi-label, where no label is a valid answer.
        group_B: Each row's group, as in `Example.group`, None for a row without one; None if no row has one or a file
            has no groups.
        unlabelled_BJ: With several tasks, which rows lack a label of which task; None: no labels are missing.
    """

    ids: list[str]
    gold_BC: np.ndarray
    predicted_BC: np.ndarray
    labels: LabelSet
    probabilities_BC: np.ndarray | None = None
    readable_B: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=bool))
    group_B: Sequence[str | None] | None = None
    unlabelled_BJ: np.ndarray | None = None

    def __post_init__(self) -> None:
        if not self.readable_B.size:
            single = not self.labels.multi_label
            readable_B = self.predicted_BC.any(axis=1) if single else np.ones(len(self.ids), dtype=bool)
            object.__setattr__(self, "readable_B", readable_B)
        shape = (len(self.ids), len(self.labels))
        assert self.gold_BC.shape == self.predicted_BC.shape == shape, (self.gold_BC.shape, shape)
        assert self.readable_B.shape == shape[:1]
        assert self.probabilities_BC is None or self.probabilities_BC.shape == shape
        assert np.isin(self.gold_BC, (0, 1)).all() and np.isin(self.predicted_BC, (0, 1)).all(), "0/1"
        if not self.labels.multi_label:
            assert (self.gold_BC.sum(axis=1) == 1).all(), "one label a row"
            assert (self.predicted_BC.sum(axis=1) == self.readable_B).all(), "one answer a row, or none"

    @classmethod
    def of_probabilities(
        cls,
        ids: Sequence[str],
        gold_BC: np.ndarray,
        probabilities_BC: np.ndarray,
        labels: LabelSet,
        group_B: Sequence[str | None] | None = None,
        *,
        unlabelled: Sequence[tuple[int, ...]] = (),
    ) -> Outcomes:
        """The outcomes of a classifier: the most probable label, the first if tied; for multi-label those with p ≥ 0.5.

        With several tasks this holds for each; `unlabelled` lists the tasks that a row has no label of.

        Raises:
            ArtifactError: A probability is NaN or infinite.
        """
        _refuse_non_finite(ids, probabilities_BC)
        # Logits passed by mistake could be taken for probabilities; the tolerance is for averaged probabilities
        assert ((probabilities_BC >= 0) & (probabilities_BC <= 1 + 1e-3)).all(), "probabilities in [0, 1]"
        return cls(
            ids=list(ids),
            gold_BC=gold_BC.astype(np.int64),
            predicted_BC=np.concatenate([predicted_by(probabilities_BC, task) for task in labels.slices], axis=1),
            labels=labels,
            probabilities_BC=probabilities_BC,
            group_B=group_B,
            unlabelled_BJ=multi_hot(unlabelled, len(labels.slices)).astype(bool) if any(unlabelled) else None,
        )

    @classmethod
    def of_encoded(cls, examples: Sequence[EncodedExample], probabilities_BC: np.ndarray, labels: LabelSet) -> Outcomes:
        """The same for encoded rows, whose labels are known."""
        gold_BC = multi_hot([example.label for example in examples], len(labels))
        ids, unlabelled = [example.id for example in examples], [example.unlabelled for example in examples]
        return cls.of_probabilities(ids, gold_BC, probabilities_BC, labels, groups_of(examples), unlabelled=unlabelled)

    @classmethod
    def concatenate(cls, parts: Sequence[Outcomes], labels: LabelSet) -> Outcomes:
        """Concatenate the rows of a classifier's outcomes."""
        none_BC = np.empty((0, len(labels)), dtype=np.int64)
        is_whole = all(part.unlabelled_BJ is None for part in parts)
        grouped = any(part.group_B is not None for part in parts)
        return cls(
            ids=[row_id for part in parts for row_id in part.ids],
            gold_BC=np.concatenate([none_BC, *(part.gold_BC for part in parts)]),
            predicted_BC=np.concatenate([none_BC, *(part.predicted_BC for part in parts)]),
            labels=labels,
            probabilities_BC=np.concatenate([none_BC.astype(float), *(part.probabilities_BC for part in parts)]),
            group_B=[group for part in parts for group in part.group_B or [None] * len(part.ids)] if grouped else None,
            unlabelled_BJ=None if is_whole else np.concatenate([part.is_unlabelled_BJ for part in parts]),
        )

    @property
    def is_unlabelled_BJ(self) -> np.ndarray:
        """Which rows lack a label of which task."""
        if self.unlabelled_BJ is not None:
            return self.unlabelled_BJ
        return np.zeros((len(self.ids), len(self.labels.slices)), dtype=bool)

    def of_task(self, task: LabelSlice) -> Outcomes:
        """The rows that have a label of one of several tasks, as outcomes of that task alone."""
        labelled = np.flatnonzero(~self.is_unlabelled_BJ[:, self.labels.slices.index(task)])
        of_rows = self.rows(labelled.tolist())
        p_BC = of_rows.probabilities_BC
        return replace(
            of_rows,
            gold_BC=of_rows.gold_BC[:, task.columns],
            predicted_BC=of_rows.predicted_BC[:, task.columns],
            probabilities_BC=None if p_BC is None else p_BC[:, task.columns],
            labels=task.labels,
            unlabelled_BJ=None,
        )

    @property
    def gold_B(self) -> np.ndarray:
        """The gold class of each row, for one label per row."""
        assert not self.labels.multi_label
        return self.gold_BC.argmax(axis=1)

    @property
    def predicted_B(self) -> np.ndarray:
        """The predicted class of each row, C if none could be read, for one label per row."""
        assert not self.labels.multi_label
        return np.where(self.readable_B, self.predicted_BC.argmax(axis=1), len(self.labels))

    @property
    def hits_B(self) -> np.ndarray:
        """Whether each row's prediction is exactly its gold labels; False if the answer could not be read."""
        return (self.predicted_BC == self.gold_BC).all(axis=1) & self.readable_B

    def rows(self, order: Sequence[int]) -> Outcomes:
        """These rows, in this order."""
        index = np.asarray(order, dtype=np.int64)
        p_BC = self.probabilities_BC
        return replace(
            self,
            ids=[self.ids[i] for i in index],
            gold_BC=self.gold_BC[index],
            predicted_BC=self.predicted_BC[index],
            probabilities_BC=None if p_BC is None else p_BC[index],
            readable_B=self.readable_B[index],
            group_B=None if self.group_B is None else [self.group_B[i] for i in index],
            unlabelled_BJ=None if self.unlabelled_BJ is None else self.unlabelled_BJ[index],
        )

    def to_json(self) -> dict[str, Any]:
        """A compact form for JSON.

        Returns:
            `ids`; `gold` and `predicted`, class indices (lists of them for multi-label), null where the answer could
            not be read; `probabilities`, rounded to 6 digits, or null; `labels`, with `names`, `words`, `multi_label`;
            `groups`, if rows have them.
        """
        predicted = zip(self._indices(self.predicted_BC), self.readable_B, strict=True)
        p_BC = self.probabilities_BC
        return {
            "ids": self.ids,
            "gold": self._indices(self.gold_BC),
            "predicted": [classes if readable else None for classes, readable in predicted],
            "probabilities": None if p_BC is None else p_BC.astype(np.float64).round(_NUM_DIGITS).tolist(),
            "labels": {
                "names": list(self.labels.names),
                "words": list(self.labels.words),
                "multi_label": self.labels.multi_label,
            },
        } | ({} if self.group_B is None else {"groups": list(self.group_B)})

    def _indices(self, hot_BC: np.ndarray) -> list[Any]:
        if self.labels.multi_label:
            return [np.flatnonzero(row).tolist() for row in hot_BC]
        return hot_BC.argmax(axis=1).tolist()

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Outcomes:
        """The inverse of `to_json`.

        Raises:
            DataError: The value is not in the format of `to_json`.
        """
        try:
            given = value["labels"]
            labels = LabelSet(tuple(given["names"]), tuple(given["words"]), multi_label=given["multi_label"])
            gold, predicted = ([_as_tuple(classes) for classes in value[key]] for key in ("gold", "predicted"))
            probabilities = value["probabilities"]
            return outcomes_of_indices(list(value["ids"]), gold, predicted, labels, probabilities, value.get("groups"))
        except (KeyError, TypeError, ValueError, IndexError, AssertionError) as error:
            raise DataError(
                f"not a model's outcomes ({type(error).__name__}: {error}): the file is damaged or from "
                "another version; evaluate again"
            ) from error


def predicted_by(probabilities_BC: np.ndarray, task: LabelSlice) -> np.ndarray:
    """The answers for one task, (B, its labels): the most probable label, or with several labels per row those with a
    probability of at least one half."""
    own_BC = probabilities_BC[:, task.columns]
    if task.labels.multi_label:
        return (own_BC >= 0.5).astype(np.int64)
    return one_hot(own_BC.argmax(axis=1), len(task.labels))


def groups_of(examples: Sequence[Example] | Sequence[EncodedExample]) -> list[str | None] | None:
    """Each row's group, None for a row without one; None if no row has one."""
    return groups_if_any(example.group for example in examples)


def groups_if_any(groups: Iterable[str | None]) -> list[str | None] | None:
    """The groups as a list; None if no row has one."""
    found = list(groups)
    return found if any(group is not None for group in found) else None


def _refuse_non_finite(ids: Sequence[str], probabilities_BC: np.ndarray) -> None:
    broken = np.flatnonzero(~np.isfinite(probabilities_BC).all(axis=1))
    if broken.size:
        raise ArtifactError(
            f"row {ids[broken[0]]!r}: its probabilities are not finite ({broken.size} of {len(ids)} rows are so); the "
            "model's weights are damaged or overflow their data type: try float32, or train again"
        )


def _as_tuple(indices: Any) -> Indices | None:
    return indices if indices is None else tuple(indices) if isinstance(indices, list) else (indices,)


def outcomes_of_indices(
    ids: list[str],
    gold: Sequence[Indices | None],
    predicted: Sequence[Indices | None],
    labels: LabelSet,
    probabilities: Sequence[Sequence[float]] | None,
    group_B: Sequence[str | None] | None = None,
) -> Outcomes:
    """Outcomes from class indices; None in `predicted`: the answer could not be read."""
    gold_BC, predicted_BC = np.zeros((2, len(ids), len(labels)), dtype=np.int64)
    for hot_BC, rows in ((gold_BC, gold), (predicted_BC, predicted)):
        for row, indices in zip(hot_BC, rows, strict=True):
            row[list(indices or ())] = 1
    return Outcomes(
        ids=ids,
        gold_BC=gold_BC,
        predicted_BC=predicted_BC,
        labels=labels,
        probabilities_BC=None if probabilities is None else np.array(probabilities, dtype=np.float64),
        readable_B=np.array([indices is not None for indices in predicted], dtype=bool),
        group_B=group_B,
    )


def pair(a: Outcomes, b: Outcomes, names: tuple[str, str] = ("the baseline", "the other")) -> tuple[Outcomes, Outcomes]:
    """Two models' outcomes on the same rows, in the order of the first; `names` are used in error messages.

    Raises:
        DataError: There are no rows, or the two differ in their labels, ids or gold labels.
    """
    if (a.labels.names, a.labels.multi_label) != (b.labels.names, b.labels.multi_label):
        said = "; ".join(f"{name} has {_shown(model.labels)}" for name, model in zip(names, (a, b), strict=True))
        raise DataError(f"the labels differ: {said}: compare models of one label set")
    for name, model in zip(names, (a, b), strict=True):
        _check_ids(name, model.ids)
    at = {row_id: index for index, row_id in enumerate(b.ids)}
    only = [row_id for row_id in a.ids if row_id not in at], sorted(set(b.ids) - set(a.ids))
    if any(only):
        parts = [f"{len(ids)} only in {name} ({ids[0]!r} …)" for name, ids in zip(names, only, strict=True) if ids]
        raise DataError(f"the rows differ: {', '.join(parts)}; {_same_rows(*only)}")
    if a.ids != b.ids:
        b = b.rows([at[row_id] for row_id in a.ids])
    differing = np.flatnonzero((a.gold_BC != b.gold_BC).any(axis=1))
    if differing.size:
        row = differing[0]
        golds = (", ".join(np.array(model.labels.names)[model.gold_BC[row] == 1]) or "none" for model in (a, b))
        said = " and ".join(f"{gold} in {name}" for name, gold in zip(names, golds, strict=True))
        raise DataError(
            f"row {a.ids[row]!r}: gold is {said} ({differing.size} of {len(a.ids)} rows differ so): evaluate both on "
            "the same version of the rows"
        )
    return a, b


def _same_rows(*only: Sequence[str]) -> str:
    """What to do about rows that only one of two models has: without ids the same row may have two names."""
    if not all(ids and all(map(is_digest_id, ids)) for ids in only):
        return "evaluate both on the same rows"
    return (
        "rows without ids are named by the text that each model's template reads: add an `id` column "
        "(data.columns.id), and evaluate both on the same rows"
    )


def _shown(labels: LabelSet) -> str:
    return ", ".join(labels.names) + (" (several at once)" if labels.multi_label else "")


def _check_ids(name: str, ids: Sequence[str]) -> None:
    if not ids:
        raise DataError(f"{name}: there are no rows to compare; check the file and the split")
    row_id, count = Counter(ids).most_common(1)[0]
    if count > 1:
        raise DataError(f"{name}: the id {row_id!r} occurs {count} times; rows are matched by it: keep one of them")
