"""Small tokenizers of every family that backbones come with, trained in memory."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_WORDS = (
    "parcel",
    "is",
    "late",
    "Again",
    "naïve",
    "Ärger",
    "посылка",
    "опоздала",
    "don't",
    "we'll",
    "1234567",
    "x1",
    "ﬁ",
)
_ODD = (
    "😀",
    "👨‍👩‍👧",
    "🇩🇪",
    "e\u0301\u0323",
    "a" + "\u0301\u0323" * 9,
    "\u200b",
    "\u200d",
    "\xad",
    "包裹没有到",
    "ｆｕｌｌ",
    "한글",
    "ा",
)
_SPACES = (" ", " ", " ", "  ", "\n", "\t", "\r\n", " " * 40, "\u3000", "\xa0", "\n\n  ", "")
_SIGNS = (".", ", ", "!?", "``", "''", "-", "</s>", "<mask>", "<pad>", "(", ")", "...")


def odd_text(draw: random.Random, length: int) -> str:
    """A text of at least so many characters, of stretches that are alike in themselves."""
    parts: list[str] = []
    while sum(map(len, parts)) < length:
        kind = draw.choice(("words", "words", "run", "odd", "spaceless", "signs"))
        if kind == "run":
            parts.append(
                draw.choice(("a", "ab", " ", "7", "\n", "=", "😀", "字", "\u0301", "\u200b")) * draw.randint(1, 400)
            )
        elif kind == "spaceless":
            parts.append("".join(draw.choice("abcdefgXYZ0189+/") for _ in range(draw.randint(1, 400))))
        else:
            pool = {"words": _WORDS, "odd": _WORDS + _ODD, "signs": _WORDS + _SIGNS}[kind]
            for _ in range(draw.randint(1, 60)):
                parts += [draw.choice(pool), draw.choice(_SPACES) if kind != "words" else " "]
    return "".join(parts)


def _corpus(*, only_ascii: bool) -> Iterator[str]:
    draw = random.Random(5)
    for _ in range(60):
        text = odd_text(draw, 400)
        yield "".join(filter(str.isascii, text)) if only_ascii else text


def _wrapped(backend: Tokenizer, *added: AddedToken) -> PreTrainedTokenizerFast:
    backend.add_special_tokens(["</s>", "<pad>", *added])
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>", pad_token="<pad>")


def _trained(backend: Tokenizer, trainer: Any, *, only_ascii: bool = False) -> Tokenizer:
    backend.train_from_iterator(_corpus(only_ascii=only_ascii), trainer)
    return backend


def _bytes(pre_tokenizer: Any, *added: AddedToken, only_ascii: bool = True, **model: Any) -> PreTrainedTokenizerFast:
    backend = Tokenizer(models.BPE(**model))
    backend.pre_tokenizer, backend.decoder = pre_tokenizer, decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=420, initial_alphabet=alphabet, max_token_length=12, show_progress=False)
    return _wrapped(_trained(backend, trainer, only_ascii=only_ascii), *added)


def _gpt2() -> PreTrainedTokenizerFast:
    return _bytes(pre_tokenizers.ByteLevel(add_prefix_space=False))


def _unsplit_bytes() -> PreTrainedTokenizerFast:
    """Merges may join words."""
    return _bytes(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False))


def _across_characters() -> PreTrainedTokenizerFast:
    """Merges may join words, and the end of one character with the beginning of the next."""
    return _bytes(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False), only_ascii=False)


def _llama3(**model: Any) -> PreTrainedTokenizerFast:
    split = pre_tokenizers.Split(Regex(LLAMA3), "isolated")
    return _bytes(
        pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]), **model
    )


def _whole_words_first() -> PreTrainedTokenizerFast:
    return _llama3(ignore_merges=True)


def _digits_from_the_right() -> PreTrainedTokenizerFast:
    """Splits by what comes any number of characters later."""
    ahead = pre_tokenizers.Split(Regex(r"\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))"), "isolated")
    return _bytes(
        pre_tokenizers.Sequence([ahead, pre_tokenizers.ByteLevel(add_prefix_space=False)]),
    )


def _takes_spaces_before() -> PreTrainedTokenizerFast:
    mask = AddedToken("<mask>", lstrip=True, rstrip=True, special=True)
    return _bytes(pre_tokenizers.ByteLevel(add_prefix_space=False), mask)


def _llama2() -> PreTrainedTokenizerFast:
    """SentencePiece's BPE over the whole text, unknown characters as bytes, bos in front."""
    backend = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    special = ["<unk>", "<s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(
        vocab_size=500, special_tokens=special, limit_alphabet=60, max_token_length=10, show_progress=False
    )
    backend = _trained(backend, trainer)
    backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return _wrapped(backend)


def _unknown_characters() -> PreTrainedTokenizerFast:
    """BPE over characters: any number of unknown ones in a row is one token."""
    backend = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    backend.normalizer, backend.pre_tokenizer = normalizers.NFC(), pre_tokenizers.Metaspace()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<unk>"], limit_alphabet=40, max_token_length=9, show_progress=False
    )
    return _wrapped(_trained(backend, trainer))


def _unigram() -> PreTrainedTokenizerFast:
    """T5's: NFKC, spaces in a row are one, eos at the end."""
    backend = Tokenizer(models.Unigram())
    backend.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=260, special_tokens=["<unk>"], unk_token="<unk>", max_piece_length=8, show_progress=False
    )
    wrapped = _wrapped(_trained(backend, trainer))
    end = wrapped.eos_token_id
    wrapped.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", end)]
    )
    return wrapped


def _bert() -> PreTrainedTokenizerFast:
    """A word with an unknown piece, or a long one, is one token, however long."""
    backend = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=30))
    backend.normalizer, backend.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    special = ["[UNK]", "[CLS]", "[SEP]"]
    backend = _trained(
        backend,
        trainers.WordPieceTrainer(vocab_size=300, special_tokens=special, limit_alphabet=60, show_progress=False),
    )
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return _wrapped(backend)


def _words() -> PreTrainedTokenizerFast:
    backend = Tokenizer(models.WordLevel(unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    return _wrapped(
        _trained(backend, trainers.WordLevelTrainer(vocab_size=40, special_tokens=["<unk>"], show_progress=False))
    )


def _ends_words() -> PreTrainedTokenizerFast:
    """CLIP's: the last token of a word is another one than within it."""
    backend = Tokenizer(models.BPE(end_of_word_suffix="</w>", unk_token="<unk>"))
    backend.normalizer, backend.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.WhitespaceSplit()
    trainer = trainers.BpeTrainer(
        vocab_size=300, end_of_word_suffix="</w>", special_tokens=["<unk>"], show_progress=False
    )
    return _wrapped(_trained(backend, trainer))


TOKENIZER_FAMILIES: dict[str, Callable[[], PreTrainedTokenizerFast]] = {
    "byte-level BPE (GPT-2)": _gpt2,
    "byte-level BPE, not split": _unsplit_bytes,
    "byte-level BPE, across characters": _across_characters,
    "tiktoken-like (Llama 3)": _llama3,
    "tiktoken-like, whole words first": _whole_words_first,
    "digits from the right": _digits_from_the_right,
    "a token that takes the spaces before it": _takes_spaces_before,
    "SentencePiece BPE (Llama 2)": _llama2,
    "BPE over characters, unknown ones fused": _unknown_characters,
    "Unigram (T5)": _unigram,
    "WordPiece (BERT)": _bert,
    "WordLevel": _words,
    "BPE that ends words (CLIP)": _ends_words,
}


@cache
def family_tokenizer(name: str) -> PreTrainedTokenizerFast:
    """A family's tokenizer, trained once."""
    return TOKENIZER_FAMILIES[name]()
