"""Token rows that share their first tokens."""

from __future__ import annotations

import random


def forest(seed: int, num_paragraphs: int = 4) -> list[list[int]]:
    """Rows of paragraph ⊕ question ⊕ answer, shuffled, with a duplicate, a prefix of another row and a stranger."""
    draw = random.Random(seed)

    def tokens(low: int, high: int) -> list[int]:
        return [draw.randrange(256) for _ in range(draw.randint(low, high))]

    rows = []
    for _ in range(num_paragraphs):
        paragraph = tokens(20, 50)
        for _ in range(3):
            question = tokens(2, 8)
            rows += [paragraph + question + tokens(1, 4) for _ in range(4)]
    rows += [list(rows[0]), rows[3][:-1], tokens(9, 9), [7]]
    draw.shuffle(rows)
    return rows
