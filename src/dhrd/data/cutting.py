"""Where a long text may be cut before it is tokenised, so that its beginning has the tokens that it has in the whole.

A tokenizer normalises, splits, and then joins characters to tokens. Two kinds of places are sure:

- **Between words**: a letter or digit, a space, a letter or digit, where no token of the vocabulary has a space after
  a letter or digit. No merge and no piece crosses such a place, and no splitter that is known here looks across it.
- **Anywhere, if a window agrees**: BPE and Unigram decide from the left in this sense: if the tokens of a text have a
  border at character i, those before it are the tokens of text[:i] alone. Tokens have a longest spelling, so a text has
  a border in every window longer than that. Where text[:i] has the same first tokens for every i of a window, they are
  the whole text's.

What a tokenizer is made of is read from its own description. With anything unknown in it no place is sure.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_WORD_BORDER = re.compile(r"[^\W_](?= [^\W_])")
_SEARCHED = 4096  # characters in which a border between words is looked for
_SPACE_SIGNS = "ĠĊĉč▁"  # white space as byte-level alphabets (the first four) and SentencePiece spell it
_SPACE_WITHIN = re.compile(rf"(?![{_SPACE_SIGNS}])[A-Za-z0-9\x80-\U0010ffff][ Ġ▁]")
# As byte-level alphabets spell it: begins within a character, and another begins in it.
_ACROSS_CHARACTERS = re.compile("[\u0122-\u0143\u00a1-\u00bf].*[\u00c2-\u00f4]")
_LOOKS_FAR = re.compile(r"\$|\\[bBzZAG1-9]|\(\?<?[=!]")
_NORMALIZERS = frozenset(
    ("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "BertNormalizer")
    + ("Strip", "Prepend", "Nmt", "Precompiled", "ByteLevel")
)
_SPLITTERS = frozenset(
    ("ByteLevel", "Digits", "Punctuation", "CharDelimiterSplit", "UnicodeScripts")
    + ("Whitespace", "WhitespaceSplit", "BertPreTokenizer")
)
_SPLIT_AT_SPACES = frozenset({"Whitespace", "WhitespaceSplit", "BertPreTokenizer"})
_SPECIAL_CASE = 16  # characters of the longest that a splitter takes as one against its rule for runs: "'ll"


@dataclass(frozen=True, slots=True)
class Cuts:
    """The sure places of a tokenizer.

    Args:
        between_words: Whether a border between words is one.
        window: Characters in a row at which a text's beginnings must agree; None: no agreement proves anything.
    """

    between_words: bool = False
    window: int | None = None

    @classmethod
    def of(cls, description: Mapping[str, Any]) -> Cuts:
        """Those of a tokenizer, from its tokenizer.json."""
        model, added = description["model"], description["added_tokens"]
        normalizers = list(_parts(description["normalizer"], "normalizers"))
        splitters = list(_parts(description["pre_tokenizer"], "pretokenizers"))
        if not all(map(_keeps_words, normalizers)) or not all(map(_splits_from_the_left, splitters)):
            return cls()
        spelled = (piece if isinstance(piece, str) else piece[0] for piece in model["vocab"])  # Unigram's with scores
        pieces = [*spelled, *(token["content"] for token in added)]
        kinds = {part["type"] for part in (*normalizers, *splitters)}
        from_the_left = _decides_from_the_left(model, pieces)
        by_words = model["type"] in ("WordPiece", "WordLevel") and bool(kinds & _SPLIT_AT_SPACES)
        # A token from the middle of one character into another could leave a window without a border to cut at; one
        # that takes in the white space before it would take in any amount.
        across = "ByteLevel" in kinds and any(map(_ACROSS_CHARACTERS.match, pieces))
        proves = from_the_left and not across and not any(token["lstrip"] for token in added)
        return cls(
            between_words=(from_the_left or by_words) and not any(map(_SPACE_WITHIN.search, pieces)),
            # twice: a short text may be one token as it is, which the merges of a longer one would not make
            window=2 * max(map(len, pieces)) + _SPECIAL_CASE if proves else None,
        )

    def word_border(self, text: str, size: int) -> int | None:
        """The last border between words in the first `size` characters; None where none is near their end."""
        if not self.between_words:
            return None
        near = _WORD_BORDER.finditer(text, max(0, size - _SEARCHED), size)
        return max((match.end() for match in near), default=None)

    def can_agree(self, text: str, size: int, normalize: Callable[[str], str]) -> bool:
        """Whether the agreement of a window that ends at `size` characters proves anything: nothing in it may vanish,
        be joined or change places when it is normalised."""
        if self.window is None or not self.window < size < len(text):
            return False
        window = text[size - self.window : size + 1]
        kept = normalize(window).replace("▁", " ").lower().endswith(window.lower())
        return kept and not any(map(unicodedata.combining, window))


def _parts(component: Mapping[str, Any] | None, name: str) -> Iterator[Mapping[str, Any]]:
    """A component alone, or those of a sequence."""
    if component is not None and component["type"] == "Sequence":
        for part in component[name]:
            yield from _parts(part, name)
    elif component is not None:
        yield component


def _keeps_words(normalizer: Mapping[str, Any]) -> bool:
    """Whether it leaves letters and single spaces between them where they are."""
    if normalizer["type"] != "Replace":
        return normalizer["type"] in _NORMALIZERS
    pattern = next(iter(normalizer["pattern"].values()))
    if re.search(r"[\\\w.^\[$]", re.sub(r"\{\d+,?\d*\}", "", pattern)):
        return False
    return " " not in pattern or normalizer["content"][:1] in (" ", "▁")


def _splits_from_the_left(splitter: Mapping[str, Any]) -> bool:
    """Whether it looks at most one character ahead of what it splits off."""
    if splitter["type"] == "Metaspace":
        return splitter["replacement"] == "▁"
    if splitter["type"] != "Split":
        return splitter["type"] in _SPLITTERS
    kind, pattern = next(iter(splitter["pattern"].items()))
    if kind == "String":
        return len(pattern) == 1
    return not _LOOKS_FAR.search(pattern.replace(r"(?!\S)", ""))


def _decides_from_the_left(model: Mapping[str, Any], pieces: Iterable[str]) -> bool:
    """Whether a border of its tokens makes those before it independent of the text after it."""
    if model["type"] != "BPE":
        return bool(model["type"] == "Unigram")
    if any(model.get(name) for name in ("dropout", "continuing_subword_prefix", "end_of_word_suffix")):
        return False
    return not model.get("byte_fallback") or not any("<0x" in piece and len(piece) != 6 for piece in pieces)
