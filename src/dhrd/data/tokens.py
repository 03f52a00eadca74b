"""Text to its first token ids: thread-safe, at a cost bounded by the limit and not by the text."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tokenizers import Encoding, Tokenizer

from dhrd.data.cutting import Cuts
from dhrd.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger("dhrd")

_MANY_CHARACTERS = 16  # for each token: a text of more is not tokenised whole before its beginning was tried
_FEW_CHARACTERS = 6  # for each token: prose has 4 to 5, so that the first try is most often enough
_GROWTH = 4
_MARGIN_TOKENS = 32
_CHUNK = 16  # beginnings of a long text at once


@dataclass(frozen=True, slots=True)
class FirstTokens:
    """The first tokens of a text.

    Args:
        ids: Token ids, including special tokens.
        num_tokens: Tokens of the whole text, or a lower bound if it was not read to its end.
        was_cut: Whether the text has more tokens than `ids`.
        was_read: Whether it was read to its end.
    """

    ids: list[int]
    num_tokens: int
    was_cut: bool = False
    was_read: bool = True


class TextTokenizer:
    """Gives the ids of `tokenizer(text, truncation=True, max_length=limit)`, and leaves the tokenizer as it is.

    A fast tokenizer keeps truncation and padding of its last call, where another thread's call meets them. So the first
    call makes a copy that nobody else has, and sets nothing on it afterwards.

    Args:
        tokenizer: A transformers tokenizer that truncates on the right; changes after the first call have no effect.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        self._lock = threading.Lock()
        self._copy: _FastTokenizer | None = None

    def __reduce__(self) -> tuple[type[TextTokenizer], tuple[PreTrainedTokenizerBase]]:
        return TextTokenizer, (self.tokenizer,)  # a lock is not pickled

    def all(self, texts: Sequence[str], *, special_tokens: bool = True) -> list[list[int]]:
        """All ids of each text."""
        if not texts:
            return []
        if fast := self._fast():
            return [encoding.ids for encoding in fast.encode(texts, special_tokens=special_tokens)]
        with self._lock:
            return list(self.tokenizer(list(texts), add_special_tokens=special_tokens, verbose=False)["input_ids"])

    def first(self, texts: Sequence[str], limit: int, *, special_tokens: bool = True) -> list[FirstTokens]:
        """The first `limit` ids of each text."""
        if fast := self._fast():
            return fast.first(texts, limit, special_tokens)
        return [
            FirstTokens(self._cut(text, limit, special_tokens), len(ids), was_cut=True)
            if len(ids) > limit
            else FirstTokens(ids, len(ids))
            for text, ids in zip(texts, self.all(texts, special_tokens=special_tokens), strict=True)
        ]

    def _cut(self, text: str, limit: int, special_tokens: bool) -> list[int]:
        with self._lock:
            return list(
                self.tokenizer(text, add_special_tokens=special_tokens, truncation=True, max_length=limit)["input_ids"]
            )

    def _fast(self) -> _FastTokenizer | None:
        """The copy; None for a tokenizer written in Python, or one that does more than its backend."""
        from transformers import PreTrainedTokenizerFast

        own = type(self.tokenizer)
        plain = issubclass(own, PreTrainedTokenizerFast) and own._encode_plus is PreTrainedTokenizerFast._encode_plus
        with self._lock:
            if plain and self._copy is None:
                self._copy = _FastTokenizer(self.tokenizer)
        return self._copy


class _FastTokenizer:
    """A backend of its own, on which nothing is set once it is made."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        description = tokenizer.backend_tokenizer.to_str()
        self.backend: Tokenizer = Tokenizer.from_str(description)
        self.backend.no_truncation()
        self.backend.no_padding()
        self.backend.encode_special_tokens = tokenizer.split_special_tokens
        self.num_special_tokens: int = self.backend.num_special_tokens_to_add(False)
        self.cuts = Cuts.of(json.loads(description))

    def encode(self, texts: Sequence[str], *, special_tokens: bool = False) -> list[Encoding]:
        return list(self.backend.encode_batch_fast(list(texts), add_special_tokens=special_tokens))

    def first(self, texts: Sequence[str], limit: int, special_tokens: bool) -> list[FirstTokens]:
        room = max(0, limit - self.num_special_tokens * special_tokens)
        most = _MANY_CHARACTERS * (room + 1)
        ends = [len(text) if len(text) <= most else self._few(text, room) for text in texts]
        tried = self.encode([text[:end] for text, end in zip(texts, ends, strict=True)])  # at once: on all cores
        encoded = [
            (encoding, end == len(text))
            if end == len(text) or len(encoding) > room
            else self._beginning(text, room, most)
            for text, end, encoding in zip(texts, ends, tried, strict=True)
        ]
        return [self._finished(encoding, was_read, room, special_tokens) for encoding, was_read in encoded]

    def _finished(self, encoding: Encoding, was_read: bool, room: int, special_tokens: bool) -> FirstTokens:
        num_special, was_cut = self.num_special_tokens * special_tokens, len(encoding) > room
        num_tokens = len(encoding) + num_special
        if not num_special:
            return FirstTokens(encoding.ids[:room], num_tokens, was_cut, was_read)
        if was_cut:
            encoding.truncate(room)
        return FirstTokens(self.backend.post_process(encoding).ids, num_tokens, was_cut, was_read)

    def _few(self, text: str, room: int) -> int:
        """Where a long text is cut at first; 0: nowhere."""
        return self.cuts.word_border(text, _FEW_CHARACTERS * (room + 1)) or 0

    def _beginning(self, text: str, room: int, size: int) -> tuple[Encoding, bool]:
        """A long text's tokens, of which the first `room` are right, and whether it was read to its end."""
        while size < len(text):
            encoding = self._until_word_border(text, size, room) or self._until_agreement(text, size, room)
            if encoding is not None:
                return encoding, False
            size *= _GROWTH
        return self.encode([text])[0], True

    def _until_word_border(self, text: str, size: int, room: int) -> Encoding | None:
        end = self.cuts.word_border(text, size)
        if end is None:
            return None
        (encoding,) = self.encode([text[:end]])
        return encoding if len(encoding) > room else None

    def _until_agreement(self, text: str, size: int, room: int) -> Encoding | None:
        window = self.cuts.window
        if window is None or window * room > len(text):  # the window would cost more than the whole text
            return None
        encoding = self.backend.encode(text[:size], add_special_tokens=False)
        if len(encoding) <= room + _MARGIN_TOKENS:
            return None
        end = encoding.offsets[room + _MARGIN_TOKENS][1] + window
        if window * end > len(text) or not self.cuts.can_agree(text, end, self._normalize):
            return None
        agreed = encoding.ids[:room]
        for first in range(end - window, end + 1, _CHUNK):
            for other in self.encode([text[:at] for at in range(first, min(first + _CHUNK, end + 1))]):
                if len(other) <= room or other.ids[:room] != agreed:
                    return None
        return encoding

    def _normalize(self, text: str) -> str:
        return self.backend.normalizer.normalize_str(text) if self.backend.normalizer is not None else text


def prepare_tokenizer(tokenizer: PreTrainedTokenizerBase, name: str = "the tokenizer") -> None:
    """Pad and cut on the right; make eos the padding token where there is none, and say so.

    Args:
        tokenizer: Changed in place.
        name: Where it comes from, for messages.

    Raises:
        ModelError: There is neither.
    """
    tokenizer.padding_side = tokenizer.truncation_side = "right"
    if tokenizer.is_fast:  # some come with both, which the first call takes off, whoever else is calling
        tokenizer.backend_tokenizer.no_truncation()
        tokenizer.backend_tokenizer.no_padding()
    if tokenizer.pad_token is not None:
        return
    if tokenizer.eos_token is None:
        raise ModelError(
            f"{name}: the tokenizer has neither a pad nor an eos token; set tokenizer.pad_token and save it again"
        )
    tokenizer.pad_token = tokenizer.eos_token
    logger.warning("%s has no padding token; using its eos token %r", name, tokenizer.eos_token)
