"""Length, repetition, endings, damage and language of rationales: checks of their text alone."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from statistics import median

from dhrd.rationales.audit.flags import Audited, Flag
from dhrd.rationales.audit.text import words
from dhrd.rationales.teacher.thinking import LEFT_OVER

_COMMONEST_SHINGLE = 50  # rows; one that more share, of a stock opening, tells no two of them from the others
_MOJIBAKE = frozenset("ÃÂâÐÑðÎÏ")
_LONG_MOJIBAKE = 6
_EAST_ASIAN = {"CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA"}
_FEW_WORDS, _MANY_WORDS, _MANY_TIMES_THE_MEDIAN = 3, 100, 4
_SHINGLE_WORDS, _SKETCH, _SAME = 3, 12, 0.8
_USUAL_ENDINGS = 0.5  # a file in which fewer end in a full stop has another style, not cut rows
_ENOUGH_WORDS, _ENOUGH_ROWS, _COMMON_WORDS, _LEAST_COMMON_SHARE = 6, 50, 150, 0.12
_BEGINNING_WORDS = 3
_NEARLY_ALL, _ENOUGH_TO_BE_A_HABIT = 0.9, 10

_ENDING = re.compile(r"[.!?…。！？؟](?:\[\d+\]|[\W_])*\Z")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffd\ufffe\uffff]")
_MARKUP = re.compile(
    r"&(?:#\d+|#x[0-9a-f]+|[a-z]{2,8});|\[END[ _-]OF[ _-]REASONING\\?\]"
    rf"|</?(?:explanation|rationale|answer|br|p|div)\s*/?>|<[|｜][^<>|｜\n]{{1,40}}[|｜]>|{LEFT_OVER.pattern}",
    re.IGNORECASE,
)
_NOT_ASCII = re.compile(r"[^\x00-\x7f]{2,}")


def check_lengths(rows: Sequence[Audited]) -> dict[int, Flag]:
    """Flag rationales of fewer than 3 words, and those over 100 that are over 4 times the median."""
    counts = [len(words(row.text)) for row in rows]
    most = max(_MANY_WORDS, _MANY_TIMES_THE_MEDIAN * median(counts)) if counts else 0
    return {
        index: Flag("length", f"{count} word{'s' * (count != 1)}")
        for index, count in enumerate(counts)
        if count < _FEW_WORDS or count > most
    }


def check_duplicates(rows: Sequence[Audited]) -> dict[int, Flag]:
    """Flag a rationale whose 3-word shingles are at least 80 % those of an earlier one (Jaccard; Broder, 1997).

    Only rationales that share one of their 12 smallest shingle hashes are compared, so this is linear in the rows.
    """
    found: dict[int, Flag] = {}
    by_hash: dict[bytes, list[int]] = defaultdict(list)
    shingles: dict[int, set[bytes]] = {}
    for index, row in enumerate(rows):
        own = _shingles(words(row.text))
        candidates = Counter(other for one in sorted(own)[:_SKETCH] for other in by_hash[one])
        for other in sorted(candidates):
            share = len(own & shingles[other]) / len(own | shingles[other])
            if share >= _SAME:
                found[index] = Flag("near_duplicate", f"{share:.0%} the same as {rows[other].id}")
                break
        else:  # only firsts are compared with: a thousand copies need no million comparisons
            shingles[index] = own
            for one in sorted(own)[:_SKETCH]:
                if len(by_hash[one]) < _COMMONEST_SHINGLE:
                    by_hash[one].append(index)
    return found


def _shingles(tokens: list[str]) -> set[bytes]:
    runs = [tokens[i : i + _SHINGLE_WORDS] for i in range(max(1, len(tokens) - _SHINGLE_WORDS + 1))]
    return {hashlib.blake2b(" ".join(run).encode(), digest_size=8).digest() for run in runs}


def check_endings(rows: Sequence[Audited]) -> dict[int, Flag]:
    """Flag rationales that do not end a sentence, where most in the file do."""
    unended = {i: row.text.rstrip()[-20:] for i, row in enumerate(rows) if not _ENDING.search(row.text)}
    if len(unended) > _USUAL_ENDINGS * len(rows):
        return {}
    return {index: Flag("truncated", f"ends in “…{end}”") for index, end in unended.items()}


def check_damage(rows: Sequence[Audited]) -> dict[int, Flag]:
    """Flag control and replacement characters, UTF-8 that was read as another encoding, entities and left-over tags."""
    found = {}
    for index, row in enumerate(rows):
        spans = [match.span() for pattern in (_CONTROL, _MARKUP) for match in pattern.finditer(row.text)]
        spans += [match.span() for match in _NOT_ASCII.finditer(row.text) if _was_misread(match.group())]
        if spans:
            shown = ", ".join(dict.fromkeys(repr(row.text[start:end]) for start, end in sorted(spans)))
            found[index] = Flag("damaged", f"holds {shown}", tuple(sorted(spans)))
    return found


def _was_misread(text: str) -> bool:
    """Whether characters are UTF-8 bytes that were read as Windows-1252 or Latin-1 ("Ã©" for "é").

    By chance two letters can be such bytes as well ("ß“"), so a short run must begin as European text so read does.
    """
    if text[0] not in _MOJIBAKE and len(text) < _LONG_MOJIBAKE:
        return False
    for encoding in ("cp1252", "latin-1"):
        try:
            return text.encode(encoding).decode("utf-8") != text
        except UnicodeError:
            continue
    return False


def check_language(rows: Sequence[Audited]) -> dict[int, Flag]:
    """Flag rationales in another script than most, or with hardly a word among the 150 commonest of the file.

    Function words make up a third or more of any text of a language; a text that has next to none of the file's is in
    another one.
    """
    scripts = [_script(row.text) for row in rows]
    usual = Counter(script for script in scripts if script).most_common(1)
    found = {
        index: Flag("language", f"in {script.title()} letters, where the file has {usual[0][0].title()}")
        for index, script in enumerate(scripts)
        if script and script != usual[0][0]
    }
    tokens = [words(row.text) for row in rows]
    frequency = Counter(word for row in tokens for word in set(row))
    common = {word for word, _ in frequency.most_common(_COMMON_WORDS)}
    for index, row in enumerate(tokens):
        if index in found or len(row) < _ENOUGH_WORDS or len(rows) < _ENOUGH_ROWS:
            continue
        share = sum(word in common for word in row) / len(row)
        if share < _LEAST_COMMON_SHARE:
            found[index] = Flag("language", f"{share:.0%} of its words are among the file's {_COMMON_WORDS} commonest")
    return found


def _script(text: str) -> str:
    """The script of most of its letters, by the first word of their Unicode names; "" without letters."""
    if text.isascii():
        return "LATIN" if any(map(str.isalpha, text)) else ""
    counts = Counter(unicodedata.name(char, "").partition(" ")[0] for char in text if char.isalpha())
    most = counts.most_common(1)[0][0] if counts else ""
    return "EAST ASIAN" if most in _EAST_ASIAN else most  # Japanese mixes three


def beginnings(rows: Sequence[Audited], most: int = 5) -> list[tuple[str, float]]:
    """The commonest first three words, each with the share of rows that begin so; those of one row are left out."""
    starts = Counter(_beginning(row) for row in rows)
    return [(start, count / len(rows)) for start, count in starts.most_common(most) if count > 1]


def check_beginnings(rows: Sequence[Audited]) -> dict[int, Flag]:
    """Flag a beginning that nearly all rationales share: thinking that was taken for the explanation begins so."""
    start, share = next(iter(beginnings(rows, most=1)), ("", 0.0))
    if share < _NEARLY_ALL or len(rows) < _ENOUGH_TO_BE_A_HABIT:
        return {}
    return {
        index: Flag("beginning", f"begins “{start}”, as {share:.0%} of the file do")
        for index, row in enumerate(rows)
        if _beginning(row) == start
    }


def _beginning(row: Audited) -> str:
    return " ".join(words(row.text)[:_BEGINNING_WORDS])


CHECKS = (check_lengths, check_duplicates, check_endings, check_damage, check_beginnings, check_language)
"""From rationales to those that are flagged, by position."""
