"""Cutting a development part off the training rows."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Sequence

from dhrd.data.records import ByTask, Example, Label
from dhrd.errors import DataError


def split_dev(
    examples: Sequence[Example], share: float, seed: int, *, setting: str = "data.dev_share"
) -> tuple[list[Example], list[Example]]:
    """Split rows into train and dev, stratified by label as far as whole groups allow.

    Args:
        examples: All training rows.
        share: Share of rows that go to dev, met to a row, or as closely as whole groups allow. With the same seed, a
            larger share's dev includes a smaller one's, but for groups that did not fit into that.
        seed: Seed of the choice of rows.
        setting: Name of the setting, for the error message.

    Returns:
        (train, dev), each in the rows' order.

    Raises:
        DataError: The share leaves one of the two empty.
    """
    rng, wanted = random.Random(f"dev {seed}"), share * len(examples)
    # One order for all shares, in which each stratum is spread evenly, from a random place on: small ones come too
    order: list[tuple[float, list[int]]] = []
    for members in _strata(examples, rng):
        size, before, offset = sum(map(len, members)), 0, rng.random()
        for rows in members:
            order.append(((before + offset * len(rows)) / size, rows))
            before += len(rows)
    dev: set[int] = set()
    for _, rows in sorted(order):
        if len(dev) + len(rows) / 2 <= wanted:  # else the share is closer without this group; a smaller one may fit
            dev.update(rows)
    if not dev or len(dev) == len(examples):
        raise DataError(f"{setting}: {share} of {len(examples)} rows leaves one part empty; change it")
    return _parts(examples, dev)


def split_fold(
    examples: Sequence[Example], fold: int, num_folds: int, seed: int
) -> tuple[list[Example], list[Example]]:
    """Split rows for cross-validation, stratified by label, groups kept whole.

    Args:
        examples: All training rows.
        fold: Which part is held out, from 0.
        num_folds: How many parts of about the same size there are; each row is in one.
        seed: Seed of the choice of rows.

    Returns:
        (the other folds, this fold), each in the rows' order.

    Raises:
        DataError: A fold would be empty.
    """
    assert 0 <= fold < num_folds
    return _parts(examples, set(fold_rows(examples, num_folds, seed)[fold]))


def fold_rows(examples: Sequence[Example], num_folds: int, seed: int) -> list[list[int]]:
    """The rows of each fold of `split_fold`, by their indices in order.

    Raises:
        DataError: A fold would be empty.
    """
    sizes, held_out = [0] * num_folds, [set[int]() for _ in range(num_folds)]
    for members in _strata(examples, random.Random(f"folds {seed}")):
        in_stratum = [0] * num_folds
        for rows in members:
            # Even within each label first, then over all: with few rows of a label the folds still come out alike
            smallest = min(range(num_folds), key=lambda k: (in_stratum[k], sizes[k], k))
            held_out[smallest].update(rows)
            in_stratum[smallest] += len(rows)
            sizes[smallest] += len(rows)
    if not all(sizes):
        raise DataError(f"{num_folds} folds of {len(examples)} rows leave one empty; use fewer, or more rows")
    return [sorted(rows) for rows in held_out]


def _strata(examples: Sequence[Example], rng: random.Random) -> list[list[list[int]]]:
    """Rows in groups, by the label that is commonest in the group, each stratum shuffled."""
    groups: dict[str, list[int]] = defaultdict(list)
    for index, example in enumerate(examples):
        groups[f"group {example.group}" if example.group is not None else f"row {index}"].append(index)
    own = _own_strata([example.label for example in examples])
    strata: dict[str, list[list[int]]] = defaultdict(list)
    for rows in groups.values():
        labels = Counter(own[row] for row in rows)
        strata[min(labels, key=lambda label: (-labels[label], label))].append(rows)
    for label in sorted(strata):
        rng.shuffle(strata[label])
    return [strata[label] for label in sorted(strata)]


def _own_strata(labels: Sequence[Label | None]) -> list[str]:
    """Each row's stratum: its label; of several labels the rarest, since few rows have all the same; of several tasks
    the first that it has a label of, since all together are rarely the same."""
    nothing = "", None
    own = [next(iter(label.labels.items()), nothing) if isinstance(label, ByTask) else ("", label) for label in labels]
    counts = Counter((task, name) for task, label in own if isinstance(label, tuple) for name in label)

    def stratum(task: str, label: object) -> object:
        if isinstance(label, tuple):
            label = min(label, key=lambda name: (counts[task, name], str(name)), default=())
        return (task, label) if task else label

    return [repr(stratum(*one)) for one in own]


def _parts(examples: Sequence[Example], chosen: set[int]) -> tuple[list[Example], list[Example]]:
    return (
        [example for index, example in enumerate(examples) if index not in chosen],
        [example for index, example in enumerate(examples) if index in chosen],
    )
