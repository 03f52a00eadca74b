"""How the reasoning head and teachers write labels, and how what they wrote is read: one reader for both.

A line is compared as it is, then stripped, then without case; only then is anything around the label taken off, one
thing at a time and what takes least first. So `C#` is never read as `C` where both are labels, and a label that begins
as a heading does ("label a") loses a full stop before it loses its first word.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import takewhile

from dhrd.data.label_names import clean_name, fold

_SEPARATORS = (",", ";", "|")
_NOTHING = ("none", "no label", "nothing of these")
_LONGEST_LINE = 1000
"""Characters of a line of which anything is taken off."""
_MOST_FORMS = 30

# What may stand around a label. Each takes one thing off, so that what is left is tried before the next goes.
_AROUND = tuple(
    re.compile(pattern, re.IGNORECASE | re.DOTALL)
    for pattern in (
        r"\s+(.*)|(.*?)\s+",
        r"(.+?)(?:<\|[^<>|]*\|>|</?s>|<eos>|<end_of_turn>)|<\|[^<>|]*\|>(.+)",  # where a model's turn or box ends
        r"[\s*_`#>=~-]+()",  # a line of markup alone
        r"(\*\*|__|[*_`])(?P<inner>(?:(?!\1).)+)\1",
        r"<(\w+)>(?P<inner>.+)</\1>",
        r"[\"'“‘„«](.+)[\"'”’“»]",
        r"(?:\$+|\\[(\[])?\s*\\(?:boxed|text\w*|math\w+)\{(.+)\}\s*(?:\$+|\\[)\]])?",
        r"\[(.+)\]|\((.+)\)|\{(.+)\}",
        # A heading ends where its word ends: "answerable" is none.
        r"[\s*_#>]*(?:(?:so|thus|hence|therefore),?\s+)?(?:(?:the|my)\s+)?(?:(?:final|correct|right|best)\s+)?"
        r"(?:(?:answer|label)(?:\s+is)?(?![^\W_])[*_]*\s*:?"
        r"|(?:classification|category|class|prediction|verdict)[*_]*(?:\s*:|\s+is(?![^\W_])))[*_]*\s*(.*)",
        r"(?:#+|>|[-*•.:→⇒➡✅✔☑]\ufe0f?|\d{1,2}[.)])\s+(.+)",
        r"(.+)[.!,;:。]",
        r"(.+?)\s*(?:\([^()]*\)|\[[^\[\]]*\])|(.+?)\s*(?:\(.*\)|\[.*\])",
        r"\*\*(.+)|(.+)\*\*",  # the other half went with the sentinel
    )
)


@dataclass(frozen=True, slots=True, eq=False)
class Wording:
    """How the labels of a set are written.

    Args:
        words: Each label's word.
        names: Each label's name, which is read too.
        separator: Between the words of several labels; None: each candidate is in a word.
        nothing: Stands for no label at all; None: each candidate is a word.
    """

    words: _Spellings
    names: _Spellings
    separator: str | None
    nothing: str | None

    def write(self, words: Sequence[str]) -> str:
        """One word, or several, or none."""
        separator = self.separator or _SEPARATORS[0]
        return f"{separator} ".join(words) if words else self.nothing or _NOTHING[0]

    def read(self, answer: str, *, multi_label: bool) -> tuple[int, ...] | None:
        """The labels that an answer names in its first line (the next, where that is a heading or markup alone)."""
        for line in answer.splitlines():
            if not clean_name(line):
                continue
            forms = list(_forms(line))
            labels = self._read_several(forms) if multi_label else self._read_one(forms)
            if labels is not None or "" not in forms:
                return labels
        return None

    def _read_one(self, forms: Sequence[str]) -> tuple[int, ...] | None:
        for spellings in (self.words, self.names):  # words first: a word may be another label's name
            for form in forms:
                if (index := spellings.find(form)) is not None:
                    return (index,)
        return None

    def _read_several(self, forms: Sequence[str]) -> tuple[int, ...] | None:
        for form in forms:
            if self.nothing is not None and fold(form) == fold(self.nothing):
                return ()
            parts = form.split(self.separator) if self.separator else [form]
            labels = list(takewhile(bool, (self._read_one(list(_forms(part))) for part in parts)))
            if len(labels) == len(parts):
                return tuple(sorted({label[0] for label in labels if label}))
        return None


@dataclass(frozen=True, slots=True, eq=False)
class _Spellings:
    """Texts to their places: as they are, cleaned, and folded; None where two share one."""

    exact: dict[str, int | None]
    clean: dict[str, int | None]
    folded: dict[str, int | None]

    @classmethod
    def of(cls, texts: Sequence[str]) -> _Spellings:
        return cls(_places(texts), _places(map(clean_name, texts)), _places(map(fold, texts)))

    def find(self, text: str) -> int | None:
        for place in (self.exact.get(text), self.clean.get(clean_name(text)), self.folded.get(fold(text))):
            if place is not None:
                return place
        return None


def _places(texts: Iterable[str]) -> dict[str, int | None]:
    places: dict[str, int | None] = {}
    for place, text in enumerate(texts):
        places[text] = None if text in places else place
    return places


@lru_cache(maxsize=64)
def wording(words: tuple[str, ...], names: tuple[str, ...]) -> Wording:
    """The wording of a label set."""
    spelled = {fold(text) for text in (*words, *names)}
    return Wording(
        words=_Spellings.of(words),
        names=_Spellings.of(names),
        separator=next((mark for mark in _SEPARATORS if not any(mark in word for word in spelled)), None),
        nothing=next((text for text in _NOTHING if fold(text) not in spelled), None),
    )


def _forms(line: str) -> Iterator[str]:
    """The line as it is, then with one thing less around it, two, …; "" among them where it is a heading alone."""
    forms = [line]
    for form in forms:  # it grows
        yield form
        if not 0 < len(form) <= _LONGEST_LINE:
            continue
        for match in filter(None, (pattern.fullmatch(form) for pattern in _AROUND)):
            inner = match.groupdict().get("inner")
            less = inner if inner is not None else next(group for group in match.groups() if group is not None)
            if less not in forms and len(forms) < _MOST_FORMS:
                forms.append(less)
