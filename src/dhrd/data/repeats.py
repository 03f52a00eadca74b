"""Texts that stand in the rows more than once where that spoils what is learned or measured."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence

from dhrd.data.digest import digest_of
from dhrd.data.records import Example

logger = logging.getLogger("dhrd")


def warn_of_two_labels(train: Sequence[Example]) -> None:
    """Say how many texts of the training rows have more than one label."""
    labels: dict[str, set[str]] = defaultdict(set)
    for example in train:
        labels[digest_of(example)].add(str(example.label))
    odd = {digest for digest, names in labels.items() if len(names) > 1}
    if odd:
        first = next(example for example in train if digest_of(example) in odd)
        logger.warning(
            "data.train: %d texts stand there with more than one label (first: %s); correct or remove one of each",
            len(odd),
            first.where,
        )


def warn_of_overlap(train: Sequence[Example], held_out: Mapping[str, Sequence[Example]]) -> None:
    """Say how many held-out rows, by the setting that they come from, were trained on."""
    trained = {digest_of(example) for example in train}
    for name, examples in held_out.items():
        known = sum(digest_of(example) in trained for example in examples)
        if known:
            logger.warning(
                "data.%s: %d of %d rows have the text of a training row, so the metrics flatter the model",
                name,
                known,
                len(examples),
            )
