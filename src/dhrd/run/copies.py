"""Copies among the rows of a measurement, whose intervals take each row as drawn by itself."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

from dhrd.data.digest import digest_of
from dhrd.data.records import Example

logger = logging.getLogger("dhrd")


def telling_copies(examples: Iterable[Example], which: str = "rows") -> Iterator[Example]:
    """Pass rows on, and after the last one warn if some have the text of an earlier one.

    Rows of one group are resampled together, so copies within a group make no interval too narrow.

    Args:
        examples: The rows.
        which: What they are, for the message.
    """
    texts: set[int] = set()
    of_groups: set[tuple[int, str]] = set()
    num_rows = num_copies = 0
    for example in examples:
        text = int(digest_of(example), 16)  # half the memory of the digits
        num_rows += 1
        if example.group is None:
            num_copies += text in texts
        else:
            num_copies += text in texts and (text, example.group) not in of_groups
            of_groups.add((text, example.group))
        texts.add(text)
        yield example
    if num_copies:
        logger.warning(
            "%d of %d %s have the text of an earlier one: if they are copies (a form, a mail sent again) and not drawn "
            "so, the intervals are too narrow; remove them, or give copies one `group`",
            num_copies,
            num_rows,
            which,
        )


def tell_copies(examples: Iterable[Example], which: str) -> None:
    """Warn as `telling_copies` does."""
    for _ in telling_copies(examples, which):
        pass
