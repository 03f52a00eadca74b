"""The question that a teacher is asked, and what is part of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dhrd.data.sources import open_source
from dhrd.errors import ConfigError
from dhrd.rationales.generate import generate_rationales
from dhrd.rationales.teacher.prompt import SENTINEL
from helpers.endpoint import FaultyEndpoint, serving
from helpers.runs import read_jsonl
from helpers.teacher import ask, ids, teacher_config, write_cases


def test_ids_and_order_are_no_part_of_what_is_asked(tmp_path: Path) -> None:
    rows = read_jsonl(write_cases(tmp_path / "d.jsonl", 6))
    with serving(FaultyEndpoint()) as endpoint:
        ask(endpoint, rows, tmp_path / "o.jsonl")
        ask(endpoint, [{**row, "id": f"new-{row['id']}"} for row in reversed(rows)], tmp_path / "o.jsonl")
    assert endpoint.num_requests == 6
    assert ids(tmp_path / "o.jsonl") == [f"new-r{i}" for i in reversed(range(6))]


@pytest.mark.parametrize(
    ("change", "asked_again"),
    [
        ({"max_tokens": 99}, False),
        ({"timeout_s": 3}, False),
        ({"attempts": 9}, False),
        ({"concurrency": 2}, False),
        ({"temperature": 0.4}, True),
        ({"top_p": 0.4}, True),
        ({"seed": 1}, True),
        ({"name": "openai:other"}, True),
        ({"label_hidden": True}, True),
        ({"template": "TEMPLATE"}, True),
    ],
)
def test_what_is_part_of_the_key(tmp_path: Path, change: dict[str, Any], asked_again: bool) -> None:
    if "template" in change:
        (tmp_path / "t.jinja").write_text("{{ input }} is {{ label }}. {{ sentinel }}", encoding="utf-8")
        change = {"template": str(tmp_path / "t.jinja")}
    data, output = write_cases(tmp_path / "d.jsonl", 2), tmp_path / "o.jsonl"
    with serving(FaultyEndpoint()) as endpoint:
        ask(endpoint, data, output)
        ask(endpoint, data, output, **change)
    assert endpoint.num_requests == (4 if asked_again else 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{{ input }} {{ label }}", "must ask for a line {{ sentinel }}"),
        ("{{ input }} {{ sentinel }}", "does not tell the teacher {{ label }}; use it, or give `teacher.label_hidden`"),
        ("{{ input {{ sentinel }}", "(line 1)"),
    ],
)
def test_a_template_that_cannot_work(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "t.jinja").write_text(text, encoding="utf-8")
    data = write_cases(tmp_path / "d.jsonl", 2)
    with pytest.raises(ConfigError) as caught:
        ask(FaultyEndpoint(url="http://127.0.0.1:9/v1"), data, tmp_path / "o.jsonl", template=str(tmp_path / "t.jinja"))
    assert message in str(caught.value)
    with pytest.raises(ConfigError, match=r"nowhere\.jinja: cannot be read"):
        ask(FaultyEndpoint(url="http://127.0.0.1:9/v1"), data, tmp_path / "o.jsonl", template="nowhere.jinja")


SUPERGLUE = ("boolq", "cb", "copa", "multirc", "rte", "wic", "wsc")


@pytest.mark.parametrize("task", SUPERGLUE)
@pytest.mark.parametrize("label_hidden", [False, True])
def test_prompts_of_superglue_tasks(shared_data: Path, tmp_path: Path, task: str, label_hidden: bool) -> None:
    root = str(shared_data / "superglue")
    with serving(FaultyEndpoint(reply=lambda prompt: f"So it is.\n{SENTINEL}\nx")) as endpoint:
        config = teacher_config(endpoint, label_hidden=label_hidden)
        config = config.model_copy(
            update={"data": config.data.model_copy(update={"superglue_root": root, "labels": None})}
        )
        generate_rationales(config, f"superglue:{task}", tmp_path / "o.jsonl", limit=3)
    rows = open_source(f"superglue:{task}", config.data).load(limit=3)
    source = open_source(f"superglue:{task}", config.data)
    assert source.labels is not None
    prompts = sorted({body["messages"][0]["content"] for body in endpoint.requests})
    assert len(prompts) == 3
    for row in rows:
        assert isinstance(row.label, str)
        word = source.labels.write(source.labels.encode(row.label))
        own = [
            prompt for prompt in prompts if str(next(v for v in row.fields.values() if isinstance(v, str))) in prompt
        ]
        assert own
        assert SENTINEL in own[0]
        assert (f"The correct answer is: {word}" in "".join(own)) is not label_hidden
