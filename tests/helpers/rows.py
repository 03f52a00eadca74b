"""Tokenizers built in memory, and short ways to write rows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

CHAT_TEMPLATE = (
    "{{ bos_token or '' }}{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
MERGES = [("t", "h"), ("th", "e"), ("i", "n"), ("Ġ", "the"), (":", "Ġ")]


def make_tokenizer(
    *,
    eos: str | None = "<eos>",
    pad: str | None = "<pad>",
    bos: str | None = None,
    chat: bool = False,
    **settings: Any,
) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer: any text has tokens, and every token back to text is exact.

    It has a few merges, one of which (`": "`) would join tokens across a border.

    Args:
        eos: End-of-sequence token; None: none.
        pad: Padding token, may be the eos token; None: none.
        bos: Beginning-of-sequence token, added in front of every text; None: none.
        chat: Give it a chat template, which writes the bos token itself, as real ones do.
        **settings: More arguments of `PreTrainedTokenizerFast`.
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = alphabet + ["".join(pair) for pair in MERGES]
    backend = Tokenizer(models.BPE(vocab={piece: i for i, piece in enumerate(pieces)}, merges=MERGES))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([token for token in dict.fromkeys((bos, eos, pad)) if token is not None])
    if bos is not None:
        backend.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, backend.token_to_id(bos))]
        )
    named = {"eos_token": eos, "pad_token": pad, "bos_token": bos}
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        **{name: token for name, token in named.items() if token is not None},
        **({"chat_template": CHAT_TEMPLATE} if chat else {}),
        **settings,
    )


def make_folding_tokenizer(known: str) -> PreTrainedTokenizerFast:
    """A tokenizer of words that gives text back in lower case, without accents and with spaces around signs.

    Args:
        known: The words that have a token; all others are left out of what it gives back.
    """
    normalizer, splitter = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    words = [word for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(known))]
    vocab = {word: place for place, word in enumerate(dict.fromkeys(["<unk>", "<eos>", "<pad>", *words]))}
    backend = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    backend.normalizer, backend.pre_tokenizer = normalizer, splitter
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", eos_token="<eos>", pad_token="<pad>")


TOKENIZERS: Mapping[str, Mapping[str, Any]] = {
    "pad is eos": {"pad": "<eos>"},
    "separate pad": {},
    "adds bos": {"bos": "<bos>"},
    "no pad": {"pad": None},
    "chat": {"bos": "<bos>", "chat": True},
}
"""The kinds of tokenizers that backbones come with, as arguments of `make_tokenizer`."""


def write_jsonl(path: Path, rows: Iterable[Any]) -> Path:
    """Write one JSON value a line."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path
