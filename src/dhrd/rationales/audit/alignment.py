"""Is a rationale about its own row? By how much closer it is to its own input than to other rows' inputs.

A text is its character 3- to 5-grams within words, weighted by tf-idf over inputs and rationales, at unit length.
With r a rationale, x its own input and x' those of other rows:

    rank = share of x' with cos(r, x') < cos(r, x), ties counting half
    z    = (cos(r, x) − mean cos(r, x')) / std cos(r, x')
    misaligned: z < 2.5, unless x is the closest of 20 or more

Among x' is no row of the same group and no near-duplicate of x (cosine ≥ 0.7): a rationale may well fit those. The
score of one row does not depend on whether others are shuffled. It needs words in common: a paraphrase without any is
flagged too, and a rationale swapped between twins is not.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from dhrd.data.records import Example
from dhrd.rationales.audit.flags import Audited, Flag
from dhrd.rationales.audit.text import input_of

_LEAST_Z = 2.5  # the shared flat optimum of seven tasks: 2.5 to 3 find and spare alike
_NEAR = 0.7
_MOST_REFERENCES = 1000  # more do not help
_ENOUGH_TO_FIT = 5000  # rows that tell how common an n-gram is
_FEW_ROWS = 100  # of which to take other rows of the data as references too
_LEAST_REFERENCES = 5
_ENOUGH_TO_BE_FIRST_AMONG = 20
_CHUNK = 512
_EPSILON, _LEAST_SPREAD = 1e-6, 1e-3
_SHUFFLED_RANK, _MANY_FLAGS = 0.7, 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    """What the comparison found.

    Args:
        ranks: Rank of each rationale; None if it has no row, or too few others to compare with.
        flags: Flags of the misaligned ones, by position.
    """

    ranks: list[float | None]
    flags: dict[int, Flag]

    @property
    def mean_rank(self) -> float | None:
        """About 1 where rationales are about their rows, about 0.5 where they are shuffled."""
        known = [rank for rank in self.ranks if rank is not None]
        return float(np.mean(known)) if known else None

    @property
    def num_compared(self) -> int:
        """Rationales that were compared with other inputs."""
        return sum(rank is not None for rank in self.ranks)

    def summary(self) -> dict[str, float | None]:
        """For JSON."""
        return {"mean_rank": self.mean_rank, "num_compared": self.num_compared, "num_misaligned": len(self.flags)}

    def sentence(self) -> str:
        """For a person."""
        if self.mean_rank is None:
            return "not measured, as there are too few rows to compare with"
        compared = self.num_compared
        text = (
            f"the own input ranks {self.mean_rank:.3f} among other rows' (1: always the closest, 0.5: "
            f"chance); {len(self.flags):,} of {compared:,} misaligned"
        )
        if self.mean_rank < _SHUFFLED_RANK:
            return f"{text}: they are shuffled, or belong to other data"
        if len(self.flags) > _MANY_FLAGS * compared:
            return f"{text}, though few of them by rank: they use few words of their inputs, so these flags are weak"
        return text


def measure_alignment(rows: Sequence[Audited], examples: Sequence[Example]) -> Alignment:
    """Compare each rationale with its own input and with other rows' inputs.

    Args:
        rows: Rationales with their rows.
        examples: All rows of the data: further inputs to compare with if there are few rationales.
    """
    known = [(index, row.text, row.example) for index, row in enumerate(rows) if row.example is not None]
    ranks: list[float | None] = [None] * len(rows)
    flags: dict[int, Flag] = {}
    own = [example for _, _, example in known]
    z_scores, own_ranks, counts = _compare([text for _, text, _ in known], own, _references(own, examples))
    for (index, _, _), z, rank, count in zip(known, z_scores, own_ranks, counts, strict=True):
        if count:
            ranks[index] = float(rank)
            if z < _LEAST_Z and not (rank > 1 - _EPSILON and count >= _ENOUGH_TO_BE_FIRST_AMONG):
                detail = f"closer to its input than to {rank:.0%} of others', by {z:.1f} standard deviations"
                flags[index] = Flag("misaligned", detail)
    return Alignment(ranks=ranks, flags=flags)


def _references(own: Sequence[Example], examples: Sequence[Example]) -> list[Example]:
    rng = random.Random("references 0")
    pool = list(own)
    if len(pool) < _FEW_ROWS:
        taken = {example.id for example in own}
        others = [example for example in examples if example.id not in taken]
        pool += rng.sample(others, min(len(others), _FEW_ROWS - len(pool)))
    return rng.sample(pool, min(len(pool), _MOST_REFERENCES))


def _compare(
    texts: Sequence[str], own: Sequence[Example], references: Sequence[Example]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """z, rank, and number of inputs compared with (0: undetermined), for each rationale."""
    count = len(texts)
    z, rank, told = np.zeros(count), np.full(count, 0.5), np.zeros(count, dtype=int)
    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True, dtype=np.float32)
    some = random.Random("n-grams").sample(range(count), min(count, _ENOUGH_TO_FIT))
    try:
        vectorizer.fit([text for i in some for text in (input_of(own[i]), texts[i])])
    except ValueError:  # no text has a letter
        return z, rank, told
    others = vectorizer.transform(map(input_of, references)).T.tocsr()
    number_of = {name: number for number, name in enumerate(dict.fromkeys(_group(e) for e in (*own, *references)))}
    groups, other_groups = (np.array([number_of[_group(e)] for e in side]) for side in (own, references))
    for start in range(0, count, _CHUNK):  # the vectors of all rows at once may be gigabytes
        part = slice(start, start + _CHUNK)
        inputs, rationales = vectorizer.transform(map(input_of, own[part])), vectorizer.transform(texts[part])
        similarity = np.asarray(inputs.multiply(rationales).sum(axis=1)).ravel()
        fair = (groups[part, None] != other_groups[None]) & ((inputs @ others).toarray() < _NEAR)
        z[part], rank[part], told[part] = _against(similarity, (rationales @ others).toarray(), fair)
    return z, rank, told


def _group(example: Example) -> str:
    return f"group {example.group}" if example.group is not None else f"row {example.id}"


def _against(own: np.ndarray, others: np.ndarray, fair: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """z, rank and number, or 0, of similarities (rows,) against (rows, references) where `fair`."""
    count = fair.sum(axis=1)
    share = fair / np.maximum(count, 1)[:, None]
    mean = (others * share).sum(axis=1)
    spread = np.sqrt((np.square(others - mean[:, None]) * share).sum(axis=1))
    gap = own - mean
    lower = np.where(np.abs(others - own[:, None]) <= _EPSILON, 0.5, others < own[:, None])
    # Where all inputs are equally close, and not merely all unlike, there is nothing to tell them apart by.
    alike = (spread <= _EPSILON) & (np.abs(gap) <= _EPSILON) & (mean > _EPSILON)
    told = (count >= _LEAST_REFERENCES) & ~alike
    return gap / np.maximum(spread, _LEAST_SPREAD), (lower * share).sum(axis=1), np.where(told, count, 0)
