"""Backbones of random weights: `scratch:CONFIG.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification

import dhrd
from dhrd.config import ModelSettings
from dhrd.errors import ModelError
from dhrd.experiments.cells import short_name
from dhrd.model.backbone import Backbone, load_backbone
from dhrd.model.location import locate
from helpers.models import FAMILIES, VOCAB_SIZE, make_causal_lm, run_config, texts
from helpers.rows import make_tokenizer


def write_config(directory: Path, family: str = "llama", **more: Any) -> str:
    """A config with a tokenizer beside it, as `model.name_or_path` takes it."""
    config = FAMILIES[family](vocab_size=VOCAB_SIZE).to_dict() | more
    make_tokenizer().save_pretrained(directory)
    (directory / "config.json").write_text(json.dumps(config))
    return f"scratch:{directory / 'config.json'}"


def draw(name: str, seed: int = 0, **settings: Any) -> Backbone:
    return load_backbone(ModelSettings(name_or_path=name, **settings), seed=seed)


def refusal(name: str, **settings: Any) -> str:
    with pytest.raises(ModelError) as caught:
        draw(name, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma3"])
def test_weights_are_the_seeds(family: str, tmp_path: Path) -> None:
    name = write_config(tmp_path, family)
    before = torch.random.get_rng_state()
    one, again, other = draw(name, 1), draw(name, 1), draw(name, 2)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert type(one.model) is type(make_causal_lm(family))
    ours, theirs, different = (found.model.state_dict() for found in (one, again, other))
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert not torch.equal(ours["lm_head.weight"], different["lm_head.weight"])


def test_the_tokenizer_beside_it_names_the_special_tokens(tmp_path: Path) -> None:
    loaded = draw(write_config(tmp_path, bos_token_id=5, eos_token_id=6))
    tokenizer, config = loaded.tokenizer, loaded.model.config
    assert tokenizer("a text").input_ids == make_tokenizer()("a text").input_ids
    assert (config.bos_token_id, config.eos_token_id, config.pad_token_id) == (
        None,
        tokenizer.eos_token_id,
        tokenizer.pad_token_id,
    )
    assert loaded.model.generation_config.eos_token_id == tokenizer.eos_token_id


def test_the_same_weights_in_every_dtype(tmp_path: Path) -> None:
    name = write_config(tmp_path)
    whole, half = draw(name), draw(name, dtype="bfloat16")
    assert half.model.dtype == torch.bfloat16
    assert torch.equal(half.model.lm_head.weight, whole.model.lm_head.weight.bfloat16())


def test_a_packages_config_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_config(tmp_path / "a_package" / "small")
    (tmp_path / "a_package" / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    name = "scratch:package:a_package/small/config.json"
    assert locate(name) == {"pretrained_model_name_or_path": str(tmp_path / "a_package/small")}
    assert draw(name).model.config.hidden_size == 16
    assert short_name(name) == "small"
    assert short_name("scratch:configs/llama-96.json") == "llama-96"


def test_what_is_no_config_is_refused(tmp_path: Path) -> None:
    assert refusal(f"scratch:{tmp_path}/no.json") == f"scratch:{tmp_path}/no.json: no such file"
    advice = "is not a causal language model: give scratch: and a transformers config in JSON with its model_type"
    assert advice in refusal(write_config(tmp_path, model_type="no-such-family"))
    assert advice in refusal(write_config(tmp_path, model_type="t5"))  # an encoder and a decoder
    assert advice in refusal(write_config(tmp_path, hidden_size=15))
    assert advice in refusal(write_config(tmp_path, hidden_size="wide"))
    assert advice in refusal(write_config(tmp_path, num_hidden_layers=0))
    assert advice in refusal(write_config(tmp_path, num_attention_heads=4, num_key_value_heads=3))
    (tmp_path / "config.json").write_text("[1]")
    assert advice in refusal(f"scratch:{tmp_path}/config.json")
    (tmp_path / "config.json").write_text("{")
    assert advice in refusal(f"scratch:{tmp_path}/config.json")


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    name = write_config(tmp_path, vocab_size=10)
    assert f"vocab_size is 10, but the tokenizer has {len(make_tokenizer())} tokens; raise it" in refusal(name)
    assert "initialised, not loaded; leave out model.quantization and .revision" in refusal(name, revision="main")
    for file in tmp_path.glob("tokenizer*"):
        file.unlink()
    assert f"model.name_or_path: {name}: no usable tokenizer beside the config" in refusal(name)


def test_a_run_draws_from_its_seed_and_its_artifact_is_as_any_other(tmp_path: Path) -> None:
    name = write_config(tmp_path)
    weights = {}
    for seed in (0, 3):
        config = run_config(
            model={"name_or_path": name, "freeze_layers": 2, "dropout": 0.0},
            training={"num_epochs": 1},
            output_dir=str(tmp_path / f"out-{seed}"),
            seed=seed,
        )
        dhrd.train(config, train_dataset=texts(), device="cpu")
        artifact = AutoModelForSequenceClassification.from_pretrained(config.output_dir)
        assert artifact.config.vocab_size == VOCAB_SIZE
        weights[seed] = artifact.model.embed_tokens.weight
        assert torch.equal(weights[seed], draw(name, seed).model.get_input_embeddings().weight)  # they were frozen
        probabilities = dhrd.Classifier.from_pretrained(config.output_dir, device="cpu").predict_proba(["some text"])
        assert probabilities.shape == (1, 3)
    assert not torch.equal(weights[0], weights[3])
