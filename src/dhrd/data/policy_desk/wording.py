"""How phrases become sentences: alternatives, slots, numbers in words, and the split that a sentence belongs to."""

from __future__ import annotations

import random
import re
import zlib
from collections.abc import Mapping, Sequence

SPLITS = ("train", "validation", "test")

_CHOICE = re.compile(r"\[([^\[\]]*)\]")
_QUARTERS = ("train", "train", "validation", "test")
_TEENS = "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
_ONES = ("zero one two three four five six seven eight nine " + _TEENS).split()
_TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")


def expand(pattern: str, rng: random.Random) -> str:
    """Draw one of each `[a|b|c]`, the inner ones first, and a number for each `[10..99]`."""
    while match := _CHOICE.search(pattern):
        first, span, last = match[1].partition("..")
        drawn = str(rng.randint(int(first), int(last))) if span else rng.choice(match[1].split("|"))
        pattern = pattern[: match.start()] + drawn + pattern[match.end() :]
    return re.sub(r" +(?=[ .,])", "", pattern).strip()


def split_of(sentence: str) -> str:
    """The only split in which a sentence may occur, by a hash of its text: half are for training."""
    return _QUARTERS[zlib.crc32(sentence.encode()) % len(_QUARTERS)]


def draw_sentence(patterns: Sequence[str], slots: Mapping[str, str], rng: random.Random, split: str) -> str:
    """A sentence that belongs to the split: a pattern, its slots filled and its alternatives drawn."""
    for _ in range(1000):
        sentence = capitalize(expand(rng.choice(patterns).format_map(slots), rng))
        if split_of(sentence) == split:
            return sentence
    raise AssertionError(f"no sentence of {split} from {patterns}")


def capitalize(text: str) -> str:
    """With its first letter as a capital, the rest as it is."""
    return text[:1].upper() + text[1:]


def number_word(number: int) -> str:
    """A number below 100 in words."""
    if number < len(_ONES):
        return _ONES[number]
    tens, ones = divmod(number, 10)
    return _TENS[tens] + (f"-{_ONES[ones]}" if ones else "")


def say_days(days: int, rng: random.Random) -> str:
    """A number of days in one of the ways that people write it: `41 days`, `forty-one days`, `six weeks`."""
    spell = rng.choice((str, number_word)) if days < 100 else str
    weeks, rest = divmod(days, 7)
    if weeks < 2 or rng.random() < (0.5 if not rest else 0.95):
        return f"{spell(days)} days"
    if not rest:
        return f"{spell(weeks)} weeks"
    return f"{spell(weeks)} weeks and {spell(rest)} day{'s' * (rest > 1)}"
