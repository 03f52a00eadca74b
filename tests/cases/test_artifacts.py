"""Artifacts that are damaged, or whose files do not belong together: one line that names the file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from dhrd.artifact.info import ArtifactInfo, read_info, to_manifest
from dhrd.artifact.read import load_reasoning_model
from dhrd.errors import ArtifactError
from dhrd.inference.classifier import Classifier
from helpers.artifacts import LABELS, assert_refused, change, predict, save_tiny
from helpers.rows import write_jsonl
from helpers.runs import run_here

Capsys = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("artifacts") / "artifact")


@pytest.fixture(scope="module")
def untied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its reasoning head is a file of its own, and so is its classification head."""
    return save_tiny(tmp_path_factory.mktemp("artifacts") / "artifact", "qwen2", head="mlp")


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "rows.jsonl", [{"input_text": "case 1"}])


@pytest.fixture
def copy(tiny: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny, tmp_path / "artifact")


MANIFESTS: dict[str, tuple[Any, str]] = {
    "a number": (5, "no object"),
    "null": (None, "no object"),
    "a list": ([], "no object"),
    "kind evil": ({"kind": "evil"}, "kind"),
    "kind null": ({"kind": None}, "kind"),
    "kind of another head": ({"pooling": "mean"}, "kind"),
    "pooling median": ({"pooling": "median"}, "pooling"),
    "head of another name": ({"head": ["mlp"]}, "head"),
    "names that are dicts": ({"labels": {"names": [{}, {}], "words": ["a", "b"], "multi_label": False}}, "names"),
    "names three times the same": ({"labels": {"names": list("aaa"), "words": list("abc"), "multi_label": False}}, "a"),
    "names that are one text": ({"labels": {"names": "abc", "words": list("abc"), "multi_label": False}}, "names"),
    "an empty name": ({"labels": {"names": ["", "b"], "words": ["a", "b"], "multi_label": False}}, "names"),
    "one name": ({"labels": {"names": ["a"], "words": ["a"], "multi_label": False}}, "names"),
    "numbers as names": ({"labels": {"names": [0, 1, 2], "words": list("abc"), "multi_label": False}}, "names"),
    "a word less": ({"labels": {"names": list("abc"), "words": ["a", "b"], "multi_label": False}}, "words"),
    "words that are null": ({"labels": {"names": list("abc"), "words": None, "multi_label": False}}, "words"),
    "labels of another order": ({"labels": {"names": list("abc"), "words": list("abc"), "multi_label": False}}, "id2"),
    "no labels": ({"labels": None}, "labels"),
    "multi_label 1": ({"labels": {"names": list("abc"), "words": list("abc"), "multi_label": 1}}, "multi_label"),
    "max_input_tokens as text": ({"max_input_tokens": "512"}, "max_input_tokens"),
    "max_input_tokens 0": ({"max_input_tokens": 0}, "max_input_tokens"),
    "max_input_tokens -5": ({"max_input_tokens": -5}, "max_input_tokens"),
    "max_input_tokens 1.5": ({"max_input_tokens": 1.5}, "max_input_tokens"),
    "max_input_tokens null": ({"max_input_tokens": None}, "max_input_tokens"),
    "max_input_tokens true": ({"max_input_tokens": True}, "max_input_tokens"),
    "max_input_tokens without end": ({"max_input_tokens": 10**40}, "max_input_tokens"),
    "max_sequence_tokens -1": ({"max_sequence_tokens": -1}, "max_sequence_tokens"),
    "input_template 5": ({"input_template": 5}, "input_template"),
    "input_template null": ({"input_template": None}, "input_template"),
    "input_template of parentheses": ({"input_template": "{{" + "(" * 3000 + "1" + ")" * 3000 + "}}"}, "dhrd.json"),
    "input_template that is none": ({"input_template": "{% if %}"}, "input_template"),
    "input_template with a filter that is none": ({"input_template": "{{ a|evil }}"}, "input_template"),
    "columns that are a list": ({"columns": ["a"]}, "columns"),
    "columns of numbers": ({"columns": {"input_text": 1}}, "columns"),
    "chat yes": ({"chat": "yes"}, "chat"),
    "format_version -1": ({"format_version": -1}, "format_version"),
    "format_version as text": ({"format_version": "1"}, "format_version"),
    "format_version true": ({"format_version": True}, "format_version"),
    "format_version of the future": ({"format_version": 10**6}, "upgrade dhrd"),
    "task of nobody": ({"task": "evil"}, "task"),
    "training x": ({"training": "x"}, "training"),
    "training of a text as weight": ({"training": {"reasoning_weight": "x"}}, "reasoning_weight"),
    "selected_on 5": ({"training": {"selected_on": 5}}, "selected_on"),
    "sequence null": ({"sequence": None}, "sequence"),
    "sequence of numbers": ({"sequence": {"reason": 1, "answer": 2}}, "sequence"),
    "order by chance": ({"sequence": {"order": "random"}}, "order"),
    "visible tokens -1": ({"sequence": {"visible_input_tokens": -1}}, "visible_input_tokens"),
    "temperature 0": ({"calibration": {"temperature": 0}}, "calibration"),
    "temperature as text": ({"calibration": {"temperature": "1"}}, "calibration"),
    "temperature without end": ({"calibration": {"temperature": float("inf")}}, "calibration"),
    "versions as numbers": ({"versions": {"dhrd": 1}}, "versions"),
    "a field that nobody knows": ({"evil": 1}, "evil"),
}


@pytest.mark.parametrize(("given", "named"), MANIFESTS.values(), ids=MANIFESTS)
def test_a10_every_field_of_the_manifest_is_checked(
    capsys: Capsys, copy: Path, rows: Path, given: Any, named: str
) -> None:
    """A10: type, range, known values."""
    path = copy / "dhrd.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | given if isinstance(given, dict) else given))
    assert_refused(predict(capsys, copy, rows), str(copy), named)


@pytest.mark.parametrize("field", ["kind", "labels", "format_version"])
def test_a10_a_field_that_every_artifact_has_may_not_be_missing(copy: Path, field: str) -> None:
    manifest = json.loads((copy / "dhrd.json").read_text())
    del manifest[field]
    (copy / "dhrd.json").write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match=rf"dhrd\.json: damaged \({field}: field required"):
        read_info(copy)


BYTES = {
    "deep": b"[" * 100_000,
    "deep objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "no UTF-8": b'{"kind": "\xff\xfe"}',
    "empty": b"",
    "a pickle": b"\x80\x04\x95",
    "half of it": b'{"format_version": 1, "kind": "sequ',
    "digits without end": b'{"format_version": ' + b"9" * 5000 + b"}",
}


@pytest.mark.parametrize("content", BYTES.values(), ids=BYTES)
@pytest.mark.parametrize("name", ["dhrd.json", "config.json", "tokenizer.json", "tokenizer_config.json"])
def test_a11_a_json_file_that_is_damaged_is_named(
    capsys: Capsys, copy: Path, rows: Path, name: str, content: bytes
) -> None:
    """A10, A11: every JSON file that an artifact is read from."""
    (copy / name).write_bytes(content)
    named = "tokenizer" if name.startswith("tokenizer") else name
    assert_refused(predict(capsys, copy, rows), str(copy), named)


@pytest.mark.parametrize("name", ["dhrd.json", "config.json", "tokenizer.json", "model.safetensors"])
def test_a11_a_file_that_is_missing_is_named(capsys: Capsys, copy: Path, rows: Path, name: str) -> None:
    """A11: a download that broke off."""
    (copy / name).unlink()
    assert_refused(predict(capsys, copy, rows), str(copy), name)


@pytest.mark.parametrize("name", ["dhrd.json", "config.json", "tokenizer.json", "model.safetensors"])
def test_a11_a_file_that_is_a_directory_is_named(capsys: Capsys, copy: Path, rows: Path, name: str) -> None:
    (copy / name).unlink()
    (copy / name).mkdir()
    assert_refused(predict(capsys, copy, rows), str(copy), name)


def test_older_manifests_load(copy: Path) -> None:
    """A10: what fields an older dhrd did not write have their defaults."""
    manifest = to_manifest(ArtifactInfo(kind="sequence_classifier", labels=LABELS))
    least = {name: manifest[name] for name in ("format_version", "kind", "labels")}
    (copy / "dhrd.json").write_text(json.dumps(least))
    info = read_info(copy)
    assert (info.max_input_tokens, info.pooling, info.labels) == (512, "last", LABELS)
    full = ArtifactInfo(kind="sequence_classifier", labels=LABELS, task="cb", calibration={"temperature": 1.5})
    (copy / "dhrd.json").write_text(json.dumps(to_manifest(full)))
    assert read_info(copy) == full


CONFIGS: dict[str, dict[str, Any]] = {
    "model_type a list": {"model_type": ["llama"]},
    "model_type null": {"model_type": None},
    "model_type bert": {"model_type": "bert"},
    "model_type of nobody": {"model_type": "evil"},
    "hidden_size -1": {"hidden_size": -1},
    "hidden_size 1.5": {"hidden_size": 1.5},
    "heads 0": {"num_attention_heads": 0, "head_dim": None},
    "heads that do not divide": {"num_attention_heads": 3, "head_dim": None},
    "key heads that do not divide": {"num_key_value_heads": 3},
    "layers 0": {"num_hidden_layers": 0},
    "layers as text": {"num_hidden_layers": "1"},
    "unknown rope": {"rope_parameters": {"rope_type": "evil", "rope_theta": 1e4}},
    "rope without numbers": {"rope_parameters": {"rope_type": "yarn"}},
    "rope of text": {"rope_parameters": {"rope_type": "default", "rope_theta": "x"}},
    "unknown dtype": {"dtype": "evil"},
    "unknown activation": {"hidden_act": "evil"},
    "epsilon as text": {"rms_norm_eps": "x"},
    "labels null": {"id2label": None},
    "labels of another number": {"id2label": {"0": "bill"}},
    "labels of another order": {"id2label": {"0": "login", "1": "bill", "2": "mail"}},
    "labels without numbers": {"id2label": {"a": "login"}},
}


@pytest.mark.parametrize("fields", CONFIGS.values(), ids=CONFIGS)
def test_a11_a_config_that_is_absurd_is_refused_in_one_line(
    capsys: Capsys, copy: Path, rows: Path, fields: dict[str, Any]
) -> None:
    change(copy / "config.json", **fields)
    assert_refused(predict(capsys, copy, rows), str(copy), "config.json")


def test_a11_a_chat_template_that_fails_is_refused(capsys: Capsys, copy: Path, rows: Path) -> None:
    change(copy / "dhrd.json", chat=True)
    assert predict(capsys, copy, rows).code == 0
    (copy / "chat_template.jinja").write_text("{{ messages[0].content + 1 }}")
    assert_refused(predict(capsys, copy, rows), "chat")
    (copy / "chat_template.jinja").write_text("{% for %}")
    assert_refused(predict(capsys, copy, rows), "chat")


def test_a11_tokens_without_embeddings_are_refused(capsys: Capsys, copy: Path, rows: Path) -> None:
    tokenizer = json.loads((copy / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"]["1"] = 5000
    (copy / "tokenizer.json").write_text(json.dumps(tokenizer))
    assert_refused(predict(capsys, copy, rows), "tokenizer.json")


def test_a9_another_files_head_is_not_taken(capsys: Capsys, copy: Path) -> None:
    """A9: `score.weight` of model.safetensors alone, whatever lies beside it."""
    before = Classifier.from_pretrained(copy, device="cpu", dtype=None).predict_proba(["case 1"])
    for name, shape in (("zzz", (3, 16)), ("aaa", (1, 16)), ("head", (7, 2)), ("reasoning_head", (3, 16))):
        save_file({"score.weight": torch.randn(shape)}, copy / f"{name}.safetensors", metadata={"format": "pt"})
    after = Classifier.from_pretrained(copy, device="cpu", dtype=None).predict_proba(["case 1"])
    assert before.tolist() == after.tolist()


def reshape(name: str, *shape: int) -> Callable[[dict[str, torch.Tensor]], None]:
    def act(state: dict[str, torch.Tensor]) -> None:
        state[name] = torch.ones(shape)

    return act


def drop(name: str) -> Callable[[dict[str, torch.Tensor]], None]:
    def act(state: dict[str, torch.Tensor]) -> None:
        del state[name]

    return act


TENSORS: dict[str, Callable[[dict[str, torch.Tensor]], None]] = {
    "a head of one row": reshape("score.weight", 1, 16),
    "a head of another width": reshape("score.weight", 3, 8),
    "a head of one dimension": reshape("score.weight", 16),
    "a norm of one number": reshape("model.norm.weight", 1),
    "embeddings of one column": reshape("model.embed_tokens.weight", 264, 1),
    "a tensor more": reshape("model.evil.weight", 1),
    "a bias of the head": reshape("score.bias", 3),
    "a tensor less": drop("model.norm.weight"),
    "no head": drop("score.weight"),
}


@pytest.mark.parametrize("act", TENSORS.values(), ids=TENSORS)
def test_a9_shapes_are_checked(
    capsys: Capsys, copy: Path, rows: Path, act: Callable[[dict[str, torch.Tensor]], None]
) -> None:
    """A9: nothing is broadcast, dropped or drawn at random."""
    path = copy / "model.safetensors"
    state = load_file(path)
    act(state)
    save_file(state, path, metadata={"format": "pt"})
    assert_refused(predict(capsys, copy, rows), str(copy))


HEADS: dict[str, tuple[str, Callable[[dict[str, torch.Tensor]], None]]] = {
    "a head without score": ("head.safetensors", drop("score.weight")),
    "a head without dense": ("head.safetensors", drop("dense.weight")),
    "a head of another width": ("head.safetensors", reshape("score.weight", 3, 8)),
    "a dense layer of one number": ("head.safetensors", reshape("dense.bias", 1)),
    "a reasoning head of one row": ("reasoning_head.safetensors", reshape("lm_head.weight", 1, 16)),
    "a reasoning head without weight": (
        "reasoning_head.safetensors",
        drop("lm_head.weight"),
    ),
    "a reasoning head with a bias": ("reasoning_head.safetensors", reshape("lm_head.bias", 264)),
}


@pytest.mark.parametrize(("name", "act"), HEADS.values(), ids=HEADS)
def test_a9_a11_the_heads_files_are_checked(
    capsys: Capsys,
    untied: Path,
    tmp_path: Path,
    name: str,
    act: Callable[[dict[str, torch.Tensor]], None],
) -> None:
    """A9, A11: head.safetensors and reasoning_head.safetensors as well."""
    copy = shutil.copytree(untied, tmp_path / "artifact")
    rows = write_jsonl(tmp_path / "rows.jsonl", [{"input_text": "case 1", "label": "bill"}])
    state = load_file(copy / name)
    act(state)
    save_file(state, copy / name, metadata={"format": "pt"})
    if name == "head.safetensors":
        assert_refused(predict(capsys, copy, rows), name)
    else:
        given = "--model", copy, "--data", rows, "--device", "cpu", "--max-new-tokens", "2"
        assert_refused(run_here(capsys, "evaluate", "--mode", "cot", *given), name)


def test_a11_a_reasoning_head_that_is_missing_is_not_drawn_at_random(untied: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(untied, tmp_path / "artifact")
    load_reasoning_model(copy)
    (copy / "reasoning_head.safetensors").unlink()
    with pytest.raises(ArtifactError, match="lm_head"):
        load_reasoning_model(copy)


GENERATIONS: dict[str, dict[str, Any]] = {
    "several sequences": {"num_return_sequences": 3},
    "beams without end": {"num_beams": 10**9},
    "contrastive search, which is code of the hub": {"penalty_alpha": 0.5, "top_k": 4},
    "a cache of nobody": {"cache_implementation": "evil"},
    "eos as text": {"eos_token_id": "x"},
}


@pytest.mark.parametrize("fields", GENERATIONS.values(), ids=GENERATIONS)
def test_a11_a_generation_config_that_is_absurd_is_refused(copy: Path, fields: dict[str, Any]) -> None:
    (copy / "generation_config.json").write_text(json.dumps(fields))
    with pytest.raises(ArtifactError, match=r"generation_config\.json"):
        load_reasoning_model(copy)


def test_a11_a_generation_config_of_a_backbone_is_taken(copy: Path) -> None:
    (copy / "generation_config.json").write_text(json.dumps({"eos_token_id": [5, 6], "repetition_penalty": 1.5}))
    found = load_reasoning_model(copy).generation_config
    assert found is not None
    assert (found.eos_token_id, found.repetition_penalty) == ([5, 6], 1.5)
