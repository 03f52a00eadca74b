"""An artifact of a stranger: no code of it runs, no pickle is opened, no network is asked, no size is believed."""

from __future__ import annotations

import io
import json
import pickle
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from dhrd.artifact.read import load_reasoning_model
from dhrd.config import ModelSettings
from dhrd.errors import ArtifactError, ModelError
from dhrd.export.onnx import OnnxForward
from dhrd.inference.classifier import Classifier
from dhrd.model.backbone import load_backbone
from helpers.artifacts import assert_refused, change, predict, save_tiny
from helpers.models import save_backbone
from helpers.rows import write_jsonl
from helpers.runs import run_here

Capsys = pytest.CaptureFixture[str]
CODE = "from pathlib import Path\nPath({path!r}).write_text('ran')\nclass Evil:\n    pass\n"


class Bomb:
    """Unpickled, it leaves a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return (Path.write_text, (self.mark, "ran"))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("security") / "artifact")


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "rows.jsonl", [{"input_text": "case 1", "label": "bill"}])


@pytest.fixture
def copy(tiny: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny, tmp_path / "artifact")


@pytest.fixture(autouse=True)
def mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """What evil code would leave, and would-be connections; every test ends with neither. Whoever asks hears yes."""
    asked: list[Any] = []

    def refuse(*address: Any, **_: Any) -> None:
        asked.append(address)
        raise OSError("no network in this test")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n" * 100))
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    yield tmp_path / "mark"
    assert not (tmp_path / "mark").exists()
    assert not asked


def add_code(directory: Path, mark: Path) -> None:
    for name in ("evil.py", "custom_generate/generate.py"):
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_text(CODE.format(path=str(mark)))


AUTO_MAPS = {
    "tokenizer": ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["evil.Evil", None]}}),
    "tokenizer of another repository": (
        "tokenizer_config.json",
        {"auto_map": {"AutoTokenizer": ["stranger/repo--evil.Evil", "stranger/repo--evil.Evil"]}},
    ),
    "tokenizer, as a list": ("tokenizer_config.json", {"auto_map": ["evil.Evil", None]}),
    "config": ("config.json", {"auto_map": {"AutoConfig": "evil.Evil"}}),
    "config of another repository": ("config.json", {"auto_map": {"AutoConfig": "stranger/repo--evil.Evil"}}),
    "model": ("config.json", {"auto_map": {"AutoModelForSequenceClassification": "evil.Evil"}}),
}


@pytest.mark.parametrize(("file", "fields"), AUTO_MAPS.values(), ids=AUTO_MAPS)
def test_a1_code_of_an_artifact_is_not_run_and_not_asked_about(
    capsys: Capsys, copy: Path, rows: Path, mark: Path, file: str, fields: dict[str, Any]
) -> None:
    """A1: where transformers knows the family and the tokenizer by itself, theirs are taken."""
    add_code(copy, mark)
    change(copy / file, **fields)
    ended = predict(capsys, copy, rows)
    assert ended.code == 0, ended.err


@pytest.mark.parametrize(("file", "fields"), AUTO_MAPS.values(), ids=AUTO_MAPS)
def test_a1_what_needs_its_own_code_is_refused(
    capsys: Capsys, copy: Path, rows: Path, mark: Path, file: str, fields: dict[str, Any]
) -> None:
    """A1: with a family or a tokenizer that nobody knows, which is what makes transformers ask."""
    add_code(copy, mark)
    change(copy / file, **fields, **({"tokenizer_class": "Evil"} if "tokenizer" in file else {"model_type": "evil"}))
    config = {"model_type": "evil"} if "tokenizer" in file else {}
    change(copy / "config.json", **config)
    assert_refused(predict(capsys, copy, rows), str(copy))
    assert_refused(
        run_here(capsys, "evaluate", "--mode", "cot", "--model", copy, "--data", rows, "--device", "cpu"), str(copy)
    )


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_a1_a_backbones_code_is_not_run(file: str, mark: Path, tmp_path: Path) -> None:
    """A1: backbones too, the teacher's and every other."""
    name = Path(save_backbone(tmp_path / "backbone", "llama"))
    add_code(name, mark)
    known = {"AutoConfig": "evil.Evil", "AutoModelForCausalLM": "evil.Evil", "AutoTokenizer": ["evil.Evil", None]}
    change(name / file, auto_map=known)
    load_backbone(ModelSettings(name_or_path=str(name)))
    change(name / "tokenizer_config.json", tokenizer_class="Evil", auto_map=known)
    change(name / "config.json", model_type="evil", auto_map=known)
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_backbone(ModelSettings(name_or_path=str(name)))


def pickled(directory: Path, mark: Path) -> None:
    """Weights that are pickles, an evil object among them, under every name that transformers has for them."""
    weights = load_file(directory / "model.safetensors")
    (directory / "model.safetensors").unlink()
    for name in ("pytorch_model.bin", "model.pt", "adapter_model.bin", "training_args.bin"):
        with (directory / name).open("wb") as file:
            torch.save(weights | {"evil": Bomb(mark)}, file, pickle_module=pickle)
    index = {"metadata": {}, "weight_map": dict.fromkeys(weights, "pytorch_model.bin")}
    (directory / "pytorch_model.bin.index.json").write_text(json.dumps(index))


def test_a2_pickled_weights_are_refused(capsys: Capsys, copy: Path, rows: Path, mark: Path) -> None:
    """A2: no model.safetensors, but pickles."""
    pickled(copy, mark)
    assert_refused(predict(capsys, copy, rows), str(copy), "no model.safetensors; pickled weights")
    with pytest.raises(ArtifactError, match="pickled weights"):
        load_reasoning_model(copy)


def test_a2_pickled_backbones_are_refused_with_advice(
    mark: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A2: a backbone's pickles, which may be converted where they are trusted."""
    monkeypatch.chdir(tmp_path)  # a long path would shorten the line in its middle
    name = Path(save_backbone(Path("backbone"), "llama"))
    pickled(name, mark)
    with pytest.raises(ModelError, match=r"no model\.safetensors; pickled weights .* save_pretrained"):
        load_backbone(ModelSettings(name_or_path=str(name)))


def add_shard(directory: Path) -> None:
    """transformers prefers it to model.safetensors."""
    state = load_file(directory / "model.safetensors")
    save_file(
        {name: tensor * 2 for name, tensor in state.items()}, directory / "shard-00001-model-00001-of-00001.safetensors"
    )


def add_adapter(directory: Path) -> None:
    change_to = {"base_model_name_or_path": "stranger/repo", "peft_type": "LORA", "target_modules": ["q_proj"], "r": 1}
    (directory / "adapter_config.json").write_text(json.dumps(change_to))
    torch.save({}, directory / "adapter_model.bin")


def only_adapter(directory: Path) -> None:
    add_adapter(directory)
    (directory / "config.json").unlink()


def index(to: str) -> Callable[[Path], None]:
    def write(directory: Path) -> None:
        weights = load_file(directory / "model.safetensors")
        shutil.move(directory / "model.safetensors", directory.parent / "elsewhere.safetensors")
        found = {"metadata": {}, "weight_map": dict.fromkeys(weights, to)}
        (directory / "model.safetensors.index.json").write_text(json.dumps(found))

    return write


def config(**fields: Any) -> Callable[[Path], None]:
    return lambda directory: change(directory / "config.json", **fields)


OTHER_WEIGHTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "A2: an adapter beside config.json": (add_adapter, "adapter_config.json"),
    "A2: an adapter instead of config.json": (only_adapter, "adapter_config.json"),
    "A2: shards of a distributed save": (add_shard, "shard-00001"),
    "A2: an index of pickles": (index("pytorch_model.bin"), "model.safetensors.index.json"),
    "A2: an index that leaves the directory": (index("../elsewhere.safetensors"), "model.safetensors.index.json"),
    "A2: an index with an absolute path": (index("/tmp/elsewhere.safetensors"), "model.safetensors.index.json"),
    "A2: an index of numbers": (index(5), "model.safetensors.index.json"),  # type: ignore[arg-type]
    "A2: a config that names a pickle": (config(transformers_weights="adapter_model.bin"), "transformers_weights"),
    "A2: a config that names a file": (config(transformers_weights="zzz.safetensors"), "transformers_weights"),
    "A11: attention of a hub repository": (config(attn_implementation="stranger/kernel"), "attn_implementation"),
    "A11: attention, by its inner name": (config(_attn_implementation="stranger/kernel:f"), "_attn_implementation"),
    "A11: attention of a part": (config(text_config={"attn_implementation": "a/b"}), "attn_implementation"),
    "A11: experts of a hub repository": (config(experts_implementation="stranger/kernel"), "experts_implementation"),
    "A11: quantization": (config(quantization_config={"quant_method": "bitsandbytes"}), "quantization_config"),
    "A11: quantization of any other kind": (config(quantization_config={"quant_method": "gptq"}), "quantization"),
}


@pytest.mark.parametrize(("attack", "named"), OTHER_WEIGHTS.values(), ids=OTHER_WEIGHTS)
def test_a2_a11_an_artifact_that_leads_to_other_files_is_refused(
    capsys: Capsys, copy: Path, rows: Path, attack: Callable[[Path], None], named: str
) -> None:
    attack(copy)
    assert_refused(predict(capsys, copy, rows), str(copy), named)


def test_a2_an_index_beside_its_files_is_read(capsys: Capsys, copy: Path, rows: Path) -> None:
    """A2: what stays allowed: safetensors in several files."""
    before = Classifier.from_pretrained(copy, device="cpu", dtype=None).predict_proba(["case 1"])
    state = load_file(copy / "model.safetensors")
    (copy / "model.safetensors").unlink()
    files = {name: f"model-0000{1 + number % 2}-of-00002.safetensors" for number, name in enumerate(sorted(state))}
    for file in set(files.values()):
        save_file({name: state[name] for name in state if files[name] == file}, copy / file, metadata={"format": "pt"})
    (copy / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": files}))
    after = Classifier.from_pretrained(copy, device="cpu", dtype=None).predict_proba(["case 1"])
    assert before.tolist() == after.tolist()
    change(copy / "model.safetensors.index.json", weight_map=files | {"score.weight": "gone.safetensors"})
    assert_refused(predict(capsys, copy, rows), "gone.safetensors")


def test_a11_a_name_elsewhere_in_the_config_is_not_followed(capsys: Capsys, copy: Path, rows: Path) -> None:
    change(copy / "config.json", _name_or_path="stranger/repo", name_or_path="stranger/repo")
    change(copy / "tokenizer_config.json", name_or_path="stranger/repo", tokenizer_file="/etc/hostname")
    assert predict(capsys, copy, rows).code == 0
    (copy / "tokenizer.json").unlink()
    assert_refused(predict(capsys, copy, rows), "tokenizer.json")


def test_a1_a_custom_way_to_generate_is_not_run(mark: Path, tmp_path: Path) -> None:
    """A1: transformers looks for custom_generate/generate.py beside a model that generates."""
    directory = save_tiny(tmp_path / "reasons", reasons=True)
    add_code(directory, mark)
    change_to = {"custom_generate": "stranger/repo", "transformers_version": "5.0.0"}
    (directory / "generation_config.json").write_text(json.dumps(change_to))
    load_reasoning_model(directory)


SIZES = ("num_hidden_layers", "hidden_size", "vocab_size", "intermediate_size", "num_labels", "num_attention_heads")


@pytest.mark.parametrize("size", [10**6, 10**9, 10**30])
@pytest.mark.parametrize("name", SIZES)
def test_a5_sizes_are_compared_with_the_weights_before_anything_is_built(
    capsys: Capsys, copy: Path, rows: Path, monkeypatch: pytest.MonkeyPatch, name: str, size: int
) -> None:
    """A5: a million layers would be built for minutes before their weights are missed."""
    change(copy / "config.json", **{name: size})
    if name in ("num_hidden_layers", "hidden_size", "vocab_size", "num_labels"):
        monkeypatch.setattr("transformers.PreTrainedModel.__init__", lambda *_, **__: pytest.fail("a model was built"))
    assert_refused(predict(capsys, copy, rows), str(copy), "config.json")


def test_a5_a_layer_less_is_refused_too(capsys: Capsys, tmp_path: Path, rows: Path) -> None:
    """A5: weights that no layer takes would be dropped in silence."""
    directory = save_tiny(tmp_path / "two", layers=2)
    change(directory / "config.json", num_hidden_layers=1)
    assert_refused(predict(capsys, directory, rows), str(directory), "model.safetensors")


def test_a5_other_families_names_of_layers(capsys: Capsys, tmp_path: Path, rows: Path) -> None:
    directory = save_tiny(tmp_path / "gpt2", "gpt2", layers=2)
    change(directory / "config.json", n_layer=10**7)
    assert_refused(predict(capsys, directory, rows), "n_layer is 10000000, but model.safetensors has 2")


def test_a5_a_backbones_layers_are_bounded(tmp_path: Path) -> None:
    name = save_backbone(tmp_path / "backbone", "llama")
    change(Path(name) / "config.json", num_hidden_layers=10**6)
    with pytest.raises(ModelError, match="num_hidden_layers is 1000000"):
        load_backbone(ModelSettings(name_or_path=name))


def test_a2_an_exports_weights_lie_beside_its_graph(tmp_path: Path) -> None:
    """A2: an ONNX graph may name the file that its weights are in."""
    (tmp_path / "secret.data").write_bytes(b"\0" * 16)
    export = tmp_path / "export"
    export.mkdir()
    tensor = onnx.TensorProto(name="logits", data_type=onnx.TensorProto.FLOAT, dims=[4])
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../secret.data")
    output = onnx.helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, [4])
    graph = onnx.helper.make_graph([], "evil", [], [output], [tensor])
    (export / "model.onnx").write_bytes(onnx.helper.make_model(graph).SerializeToString())
    with pytest.raises(ArtifactError, match=r"model\.onnx"):
        OnnxForward.from_pretrained(export)


def test_every_from_pretrained_of_the_package_says_so(repository: Path) -> None:
    """A1, A2: no call of transformers that loads from a name leaves its safety to a default."""
    kinds = [r"AutoConfig", r"AutoTokenizer", r"AutoModel\w*", r"kind", r"GenerationConfig"]
    found = []
    for path in (repository / "src").rglob("*.py"):
        lines = path.read_text(encoding="utf-8").splitlines()
        for number, line in enumerate(lines):
            if any(f"{kind}.from_pretrained(" in line for kind in (*kinds, "AutoModelForCausalLM", "LLM")):
                call = " ".join(lines[number : number + 4])
                safe = any(name in call for name in ("NO_CODE", "NO_PICKLE", "HERE", "local_files_only"))
                found.append((path.name, number, safe or '"DIR"' in call))  # the model card shows one
    assert len(found) >= 8
    assert all(safe for *_, safe in found), found


def test_the_attacks_would_work_elsewhere(copy: Path, mark: Path) -> None:
    """The control: the same pickle and the same code do run where they are let."""
    pickled(copy, mark)
    torch.load(copy / "pytorch_model.bin", weights_only=False)
    assert mark.read_text() == "ran"
    mark.unlink()
    add_code(copy, mark)
    change(copy / "config.json", model_type="evil", auto_map={"AutoConfig": "evil.Evil"})
    with pytest.raises(Exception, match="Evil"):
        AutoModelForCausalLM.from_pretrained(copy, trust_remote_code=True)
    assert mark.read_text() == "ran"
    mark.unlink()
