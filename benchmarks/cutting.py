"""Long texts, cut to their first tokens: by their characters before they are tokenised, against tokenising them whole.

    python benchmarks/cutting.py [--model DIR] [--texts N] [--superglue DIR] [--output FILE]

1,000 texts of 100 kB (passages of BoolQ, each text beginning with another); 512 tokens of each are wanted.
Both ways take turns on parts of the texts, and give the same tokens. What is counted is the time from texts to tokens.

The physics: 512 tokens are some 2.4 kB of text; a window of characters is read beside them until its beginnings agree.
Predicted: 30 times.

Prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from inference import rows, say, untrained

from dhrd.artifact.info import read_info
from dhrd.artifact.read import load_input_encoder
from dhrd.benchmark.machine import conditions
from dhrd.benchmark.measure import spread, timed
from dhrd.data.inputs import InputEncoder

SIZE, MAX_INPUT_TOKENS, NUM_PARTS = 100_000, 512, 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--superglue", type=Path, default=Path("../shared/data/superglue"))
    parser.add_argument("--model", type=Path, help="an artifact; left out: an untrained head on SmolLM2-135M")
    parser.add_argument("--texts", type=int, default=1000)
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        model = given.model or untrained(Path(directory) / "model", "boolq", MAX_INPUT_TOKENS, num_layers=1)
        result = measure(model, given)
    if given.output is not None:
        given.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result))


def measure(model: Path, given: argparse.Namespace) -> dict[str, Any]:
    info = read_info(model).model_copy(
        update={"input_template": "{{ input_text }}", "max_input_tokens": MAX_INPUT_TOKENS}
    )
    encoder, texts = load_input_encoder(model, info), long_texts(given)
    size = max(1, len(texts) // NUM_PARTS)
    ratios: list[float] = []
    seconds: dict[str, list[float]] = {"cut": [], "whole": []}
    assert cut(encoder, texts[:1]) == whole(encoder, texts[:1])  # both make what they keep at their first call
    for start in range(0, len(texts), size):
        part = texts[start : start + size]
        cut_s, some = timed(cut, encoder, part)
        whole_s, same = timed(whole, encoder, part)
        assert some == same
        seconds["cut"].append(cut_s)
        seconds["whole"].append(whole_s)
        ratios.append(whole_s / cut_s)
        say(f"{start + len(part)} texts: {ratios[-1]:.1f} times")
    return {
        "whole_over_cut": spread(ratios).model_dump(),
        "seconds": {name: sum(taken) for name, taken in seconds.items()},
        "num_texts": len(texts),
        "bytes_a_text": SIZE,
        "max_input_tokens": MAX_INPUT_TOKENS,
        "conditions": conditions(torch.device("cpu"), torch.float32).model_dump(),
    }


def long_texts(given: argparse.Namespace) -> list[str]:
    passages = [row.fields["passage"] for row in rows("boolq", given, 400)]
    everything = " ".join(passages)
    everything *= 1 + SIZE // len(everything)
    step = len(everything) // given.texts
    return [(everything[step * at :] + everything)[:SIZE] for at in range(given.texts)]


def cut(encoder: InputEncoder, texts: list[str]) -> list[list[int]]:
    return [item.input_ids for item in encoder.encode([({"input_text": text}, "a text") for text in texts])]


def whole(encoder: InputEncoder, texts: list[str]) -> list[list[int]]:
    return [ids[:MAX_INPUT_TOKENS] for ids in encoder.tokenizer(texts)["input_ids"]]


if __name__ == "__main__":
    main()
