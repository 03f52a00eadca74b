"""Which backbone fits a machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dhrd.model.choice import BACKBONES, Machine, at_hand, choose_backbone, context_of, needed_bytes, this_machine

GIB = 2**30


@pytest.mark.parametrize(
    ("machine", "name", "told"),
    [
        (
            Machine(memory_bytes=256 * GIB),
            "HuggingFaceTB/SmolLM2-135M",
            "of the 256 GiB of this machine, which has no GPU",
        ),
        (Machine(memory_bytes=2 * GIB), "HuggingFaceTB/SmolLM2-135M", "too little, so train only adapters"),
        (Machine(memory_bytes=16 * GIB, gpu="T4"), "Qwen/Qwen3-0.6B-Base", "of the 16 GiB of T4"),
        (Machine(memory_bytes=80 * GIB, gpu="H100"), "Qwen/Qwen3-4B-Base", "of the 80 GiB of H100"),
        (Machine(memory_bytes=GIB, gpu="old"), "HuggingFaceTB/SmolLM2-135M", "too little"),
    ],
)
def test_the_largest_that_fits_a_gpu_and_the_smallest_on_a_cpu(machine: Machine, name: str, told: str) -> None:
    chosen, why = choose_backbone(machine)
    assert (chosen, told in why) == (name, True), why


def test_the_table_goes_from_small_to_large() -> None:
    assert list(BACKBONES.values()) == sorted(BACKBONES.values())
    assert needed_bytes("HuggingFaceTB/SmolLM2-135M") == 135_000_000 * 16 + 2 * GIB


def test_this_machine_has_memory() -> None:
    assert this_machine().memory_bytes > 2**28


def test_what_is_at_hand_is_here_or_in_the_hubs_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert at_hand(str(tmp_path)) == str(tmp_path)
    assert at_hand("package:no_package_at_all/x.gguf") is None
    cached: list[str] = []

    def look(repository: str, file: str) -> str | None:
        cached.append(f"{repository}/{file}")
        return str(tmp_path / file) if repository == "org/here" else None

    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", look)
    assert at_hand("org/here") == str(tmp_path)
    assert at_hand("org/elsewhere") is None
    assert cached == ["org/here/tokenizer.json", "org/elsewhere/tokenizer.json"]


def test_the_context_is_the_configs(tmp_path: Path) -> None:
    assert context_of(str(tmp_path)) is None
    for config, expected in (({"n_positions": 64}, 64), ({"max_position_embeddings": 8192}, 8192), ({}, None)):
        (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
        assert context_of(str(tmp_path)) == context_of(f"scratch:{tmp_path / 'config.json'}") == expected
