"""Make the backbone of `dhrd reproduce controlled`: a small Llama's config, and a tokenizer of the desk's words.

    python examples/policy_desk/backbone.py [DIR]

The weights are drawn by each run (`model.name_or_path: scratch:DIR/config.json`). A token is a word, a number or a
sign, in lower case; the vocabulary is that of generated rows of every split, so that held-out mails have no unknown
words. Numbers from 1,000 on, which are orders' alone, are left unknown.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import LlamaConfig, PreTrainedTokenizerFast

from dhrd.data.policy_desk.policy import MAX_HOPS
from dhrd.data.policy_desk.rows import PolicyDesk
from dhrd.data.policy_desk.wording import SPLITS

PACKAGED = Path(__file__).resolve().parents[2] / "src/dhrd/experiments/desk_llama"
SPECIAL = ("<unk>", "<pad>", "<eos>")
_NUM_ROWS = 600  # of each split and number of hops
_SEED = 1_000_000  # no study's


def texts() -> Iterator[str]:
    """What the vocabulary is of: mails, rationales, label words, the markers of the continuation, numbers."""
    for hops in range(1, MAX_HOPS + 1):
        for split in SPLITS:
            for row in PolicyDesk(rows=_NUM_ROWS, hops=hops, seed=_SEED).generate(split):
                yield f"{row['input_text']}\n\nReasoning: {row['rationale']}\nAnswer: {row['label']}"
    yield " ".join(map(str, range(200)))


def make_tokenizer() -> PreTrainedTokenizerFast:
    """A word-level tokenizer, its words by falling frequency, then by the alphabet."""
    normalizer, splitter = normalizers.Lowercase(), pre_tokenizers.BertPreTokenizer()
    counts = Counter(word for text in texts() for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text)))
    kept = (word for word in counts if not word.isdigit() or len(word) < 4)
    words = [*SPECIAL, *sorted(kept, key=lambda word: (-counts[word], word))]
    backend = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token=SPECIAL[0]))
    backend.normalizer, backend.pre_tokenizer = normalizer, splitter
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", pad_token="<pad>", eos_token="<eos>")


def make_config(tokenizer: PreTrainedTokenizerFast) -> dict[str, object]:
    """A Llama that trains on a CPU core in seconds."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=176,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    fields = json.loads(config.to_json_string())
    return {name: value for name, value in fields.items() if name != "transformers_version"}


def main(directory: Path) -> None:
    """Write config.json and the tokenizer's files."""
    tokenizer = make_tokenizer()
    tokenizer.save_pretrained(directory)
    text = json.dumps(make_config(tokenizer), indent=2, sort_keys=True)
    (directory / "config.json").write_text(text + "\n", encoding="utf-8")
    print(f"{directory}: {len(tokenizer)} tokens")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", nargs="?", type=Path, default=PACKAGED, metavar="DIR")
    main(parser.parse_args().directory)
