"""S8, S11, S13: what a page prints, options without sense, and a home directory."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import dhrd
from dhrd import Classifier, ConfigError, DataError
from dhrd.inference.cascade import CoT
from dhrd.inference.cot import Reasoner
from dhrd.inference.engine.options import Options
from helpers.runs import make_config, read_jsonl, rows, run_here, save_backbone, write_rows

LONG = "I have the receipt, and it arrived broken. " * 30
NO_COUNTS = (0, -1, -5, 1.5, "8", True, float("nan"), np.float64(3.0), [])


@pytest.fixture(scope="module")
def artifact(tiny_backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("options")
    config = make_config(tiny_backbone, directory, "training.num_epochs=1", "data.max_input_tokens=40")
    return dhrd.train(config).output_dir


@pytest.fixture(scope="module")
def classifier(artifact: Path) -> Classifier:
    return Classifier.from_pretrained(artifact, device="cpu", dtype=None)


def printed(text: str) -> str:
    """The Python block of a page that shows the pipeline."""
    (block,) = (one for one in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "pipeline(" in one)
    return str(block)


def values(program: str) -> Iterator[Any]:
    """What each expression of a program gives."""
    names: dict[str, Any] = {}
    for node in ast.parse(program).body:
        if isinstance(node, ast.Expr):
            yield eval(compile(ast.Expression(node.value), "printed", "eval"), names)
        else:
            exec(compile(ast.Module([node], []), "printed", "exec"), names)


@pytest.mark.parametrize("special", [{}, {"bos": "<bos>"}, {"pad": "<eos>"}], ids=["plain", "adds bos", "pad is eos"])
def test_s8_the_page_as_printed_gives_the_same_label_on_long_text(
    special: dict[str, Any], repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = save_backbone(tmp_path / "backbone", **special)
    trained = dhrd.train(make_config(backbone, tmp_path, "training.num_epochs=1", "data.max_input_tokens=40"))
    trained.output_dir.rename(tmp_path / "output")
    monkeypatch.chdir(tmp_path)
    program = printed((repository / "docs" / "concepts" / "artifact.md").read_text(encoding="utf-8"))
    assert program.count('"It arrived broken and I have the receipt."') == 2
    long = program.replace("It arrived broken and I have the receipt.", LONG)
    (stock,), probabilities_BC = values(long)
    assert stock["score"] == pytest.approx(probabilities_BC.max(), abs=1e-5)
    ours = Classifier.from_pretrained("output", device="cpu")
    assert stock["label"] == ours.predict(LONG)[0]
    assert ours.num_cut == 1


def test_s8_the_model_card_as_printed_gives_the_same_label_on_long_text(
    artifact: Path, classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(artifact.parent)
    program = printed((artifact / "README.md").read_text(encoding="utf-8")).replace("DIR", artifact.name)
    ((stock,),) = values(f"{program}\nclassifier({LONG!r})")
    assert stock["label"] == classifier.predict(LONG)[0]
    assert stock["score"] == pytest.approx(classifier.predict_proba(LONG).max(), abs=1e-5)


@pytest.mark.parametrize("number", NO_COUNTS, ids=repr)
@pytest.mark.parametrize(
    "name",
    ["window", "max_tokens_per_pass", "max_new_tokens", "limit", "batch_size"],
)
def test_s11_no_number_of_anything(name: str, number: Any, artifact: Path, classifier: Classifier) -> None:
    calls: dict[str, list[Callable[[], Any]]] = {
        "window": [lambda: list(classifier.stream(["a"], window=number))],
        "max_tokens_per_pass": [
            lambda: Classifier.from_pretrained(artifact, max_tokens_per_pass=number),
            lambda: Options(max_tokens_per_pass=number, pass_overhead_tokens=0),
            lambda: list(dhrd.predict(artifact, ["a"], max_tokens_per_pass=number)),
        ],
        "max_new_tokens": [
            lambda: classifier.explain("a", max_new_tokens=number),
            lambda: CoT(max_new_tokens=number),
            lambda: classifier.reasoner().decode([], CoT(max_new_tokens=number)),
            lambda: dhrd.evaluate(artifact, rows(2), device="cpu", mode="cot", max_new_tokens=number),
        ],
        "limit": [lambda: dhrd.evaluate(artifact, rows(2), device="cpu", limit=number)],
        "batch_size": [lambda: CoT(batch_size=number)],
    }
    for call in calls[name]:
        with pytest.raises(ConfigError, match=rf"^`{name}`: give a whole number of at least 1, got "):
            call()


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf"), "1", None, True])
def test_s11_no_temperature_and_no_threshold(value: Any, artifact: Path) -> None:
    with pytest.raises(ConfigError, match="temperature"):
        CoT(temperature=value)
    with pytest.raises(ConfigError, match=r"^threshold .*confidence from 0 to 1"):
        Classifier.from_pretrained(artifact, device="cpu", cascade=CoT(), threshold=value)


@pytest.mark.parametrize("device", [-1, "-1", "cpu", torch.device("cpu")])
def test_s11_minus_one_is_the_cpu(device: Any, artifact: Path) -> None:
    assert Classifier.from_pretrained(artifact, device=device).device.type == "cpu"
    assert Reasoner.from_pretrained(artifact, device=device).model.device.type == "cpu"


@pytest.mark.parametrize(
    "device", [-2, 99, "99", 1.5, True, "gpu", "", "cuda:99", torch.device("cuda", 99), ["cpu"], b"cpu"]
)
def test_s11_no_device(device: Any, artifact: Path) -> None:
    for kind in (Classifier, Reasoner):
        with pytest.raises(ConfigError, match=r"`device` .*(give cpu|torch finds)"):
            kind.from_pretrained(artifact, device=device)


@pytest.mark.parametrize("given", [None, 5, 1.5, object()])
def test_s11_no_rows(given: Any, classifier: Classifier) -> None:
    for call in (
        classifier.predict,
        classifier.predict_proba,
        classifier.explain,
        lambda it: list(classifier.stream(it)),
    ):
        with pytest.raises(DataError, match=f"rows: .*{type(given).__name__}"):
            call(given)


def test_s11_the_command_refuses_them_too(artifact: Path, tmp_path: Path, capsys: Any) -> None:
    train, _ = write_rows(tmp_path)
    command = ["predict", "--model", artifact, "--input", train, "--output", tmp_path / "out.jsonl"]
    assert run_here(capsys, *command, "--max-tokens-per-pass", "0").code == 2
    assert run_here(capsys, *command, "--device", "1.5").code == 2
    ended = run_here(capsys, "evaluate", "--model", artifact, "--data", train, "--limit", "-3")
    assert (ended.code, ended.error_lines) == (
        2, ["dhrd: error: --limit: give a whole number of at least 1, got -3"]
    )  # fmt: skip
    assert run_here(capsys, *command, "--device", "-1").code == 0


def test_s13_an_artifact_by_home_directory(
    artifact: Path, classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv("HOME", str(artifact.parent))
    name = f"~/{artifact.name}"
    labels = classifier.predict([row["input_text"] for row in rows(4)])
    assert Classifier.from_pretrained(name).predict([row["input_text"] for row in rows(4)]) == labels
    assert [row["label"] for row in dhrd.predict(name, rows(4))] == labels
    assert dhrd.evaluate(name, rows(4)).metrics["num_examples"] == 4
    assert dhrd.evaluate(name, rows(2), mode="cot", max_new_tokens=2).metrics["num_examples"] == 2
    train, _ = write_rows(tmp_path)
    output = tmp_path / "out.jsonl"
    assert run_here(capsys, "predict", f"--model={name}", "--input", train, "--output", output).code == 0
    assert len(read_jsonl(output)) == 20
