"""Texts that stand in the rows more than once where that spoils what is learned or measured."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence

from dhrd.data.digest import digest_of
from dhrd.data.records import Example

logger = logging.getLogger("dhrd")


def warn_of_repeats(train: Sequence[Example], held_out: Mapping[str, Sequence[Example]]) -> None:
    """Say how many texts have two labels in the training rows, and how many held-out rows were trained on.

    Args:
        train: The training rows, their labels as given.
        held_out: Other rows by their name.
    """
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
    for name, examples in held_out.items():
        known = sum(digest_of(example) in labels for example in examples)
        if known:
            logger.warning(
                "data.%s: %d of %d rows have the text of a training row, so the metrics flatter the model",
                name,
                known,
                len(examples),
            )
