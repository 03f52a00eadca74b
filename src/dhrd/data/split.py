"""Cutting a development part off the training rows."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Sequence

from dhrd.data.records import Example
from dhrd.errors import DataError


def split_dev(examples: Sequence[Example], share: float, seed: int) -> tuple[list[Example], list[Example]]:
    """Split rows into train and dev, stratified by label, groups kept whole.

    Args:
        examples: All training rows.
        share: Share of rows that go to dev.
        seed: Decides which.

    Returns:
        (train, dev), each in the rows' order.

    Raises:
        DataError: The share leaves one of the two empty.
    """
    groups: dict[str, list[int]] = defaultdict(list)
    for index, example in enumerate(examples):
        groups[f"group {example.group}" if example.group is not None else f"row {index}"].append(index)
    strata: dict[str, list[list[int]]] = defaultdict(list)
    for rows in groups.values():
        labels = Counter(repr(examples[row].label) for row in rows)
        strata[min(labels, key=lambda label: (-labels[label], label))].append(rows)
    dev: set[int] = set()
    rng = random.Random(f"dev {seed}")
    for label in sorted(strata):
        members = strata[label]
        rng.shuffle(members)
        wanted, taken = share * sum(map(len, members)), 0
        for rows in members:
            if taken + len(rows) / 2 <= wanted:  # take a group while that brings the share closer
                dev.update(rows)
                taken += len(rows)
    if not dev or len(dev) == len(examples):
        raise DataError(
            f"data.dev_share: {share} of {len(examples)} rows in {len(groups)} groups leaves one part empty; change it"
        )
    return (
        [example for index, example in enumerate(examples) if index not in dev],
        [example for index, example in enumerate(examples) if index in dev],
    )
