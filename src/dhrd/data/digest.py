"""Digests: of a row's input, to tell whether a rationale or a prediction is about this very text; of rows as tokens."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np

from dhrd.data.records import EncodedExample, Example
from dhrd.data.row import Columns
from dhrd.data.templates import PLAIN, InputTemplate

_DIGITS = 16
_FEWEST_SORTED = 2**16
_DIGEST_ID = re.compile(rf"[0-9a-f]{{{_DIGITS}}}(-[0-9]+)?")


def input_digest(columns: Columns, template: InputTemplate) -> str:
    """16 hexadecimal digits of the SHA-256 of the columns that the template reads.

    Of the columns and not of what the template makes of them, so that other words around them change nothing: of the
    text itself where one is read, else of a JSON list of them in the order of their names. Spaces count once, and
    Unicode is in its composed form: a file that went through another format or editor has the same digests.
    """
    names = sorted(template.variables)
    if any(name not in columns for name in names if name == "row"):  # it may read any of them
        return _digest(template.render(columns, may_be_empty=True))
    values = [columns.get(name) for name in names]
    if len(values) == 1 and isinstance(values[0], str):
        return _digest(values[0])
    return _digest(json.dumps(values, ensure_ascii=False, sort_keys=True, default=str))


def digest_of(example: Example) -> str:
    """An example's digest; that of its `input_text` if it did not come from a source."""
    return example.digest or input_digest(example.columns(), _PLAIN)


def exact_digest(example: Example) -> str:
    """A hash of the very text that a template made of the row: to a model, other white space is another text."""
    text = example.rendered[1] if example.rendered else json.dumps(example.columns(), sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]


def text_digest(text: str) -> str:
    """The `input_digest` of a row that is read as it is, whatever a template reads beside its `input_text`."""
    return input_digest({"input_text": text}, _PLAIN)


def rows_digest(examples: Iterable[Example]) -> str:
    """16 hexadecimal digits for rows in any order, from their digests."""
    return f"{sum(int(digest_of(example), 16) for example in examples) % 16**_DIGITS:0{_DIGITS}x}"


def fingerprint(examples: Sequence[EncodedExample]) -> str:
    """A hash of all tokens and labels, to check that a run resumes with the same rows; groups teach nothing."""
    digest = hashlib.sha256()
    for example in examples:
        parts = (example.id, example.input_ids, example.continuation_ids, example.label)
        digest.update(repr((*parts, example.keyword_ids) if example.keyword_ids else parts).encode())
        if example.unlabelled:
            digest.update(repr(example.unlabelled).encode())
        if example.shares is not None or example.weight != 1:
            digest.update(repr((example.shares, example.weight)).encode())
    return digest.hexdigest()[:16]


def _digest(text: str) -> str:
    canonical = unicodedata.normalize("NFC", " ".join(text.split()))
    return hashlib.sha256(canonical.encode()).hexdigest()[:_DIGITS]


_PLAIN = InputTemplate(PLAIN)


def is_digest_id(row_id: str) -> bool:
    """Whether an id is of the kind that `DigestIds` gives to rows without one."""
    return _DIGEST_ID.fullmatch(row_id) is not None


class DigestIds:
    """Ids for rows that have none: their digests, the second of a kind with -2 after it.

    Some 20 bytes a row: the digests so far as sorted numbers, and the latest of them, at most a 32nd, in a set.
    """

    def __init__(self) -> None:
        self._sorted = np.empty(0, np.uint64)
        self._latest: set[int] = set()
        self._repeated: dict[int, int] = {}

    def next(self, digest: str) -> str:
        """The id of the next row with this digest."""
        key = int(digest, 16)
        if self._is_known(key):
            count = self._repeated[key] = self._repeated.get(key, 1) + 1
            return f"{digest}-{count}"
        self._latest.add(key)
        if len(self._latest) >= max(_FEWEST_SORTED, len(self._sorted) // 32):
            self._sorted = np.concatenate([self._sorted, np.fromiter(self._latest, np.uint64)])
            self._sorted.sort(kind="stable")  # which is fast where most is sorted already
            self._latest.clear()
        return digest

    def _is_known(self, key: int) -> bool:
        if key in self._latest or key in self._repeated:
            return True
        place = int(np.searchsorted(self._sorted, np.uint64(key)))
        return place < len(self._sorted) and int(self._sorted[place]) == key
