"""What a run leaves: rationales in the rows' order, and a manifest."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path
from typing import Any

import pytest

from dhrd.errors import ConfigError
from dhrd.rationales.teacher.prompt import SENTINEL
from helpers.endpoint import FaultyEndpoint, serving
from helpers.rows import write_jsonl
from helpers.runs import read_jsonl
from helpers.teacher import ask, manifest, write_cases


def test_the_output_is_in_the_rows_order(tmp_path: Path) -> None:
    data, output = write_cases(tmp_path / "d.jsonl", 50), tmp_path / "o.jsonl"
    jitter = random.Random(0)

    class Jittery(FaultyEndpoint):
        async def complete(self, request: Any) -> Any:
            self.delay_s = jitter.random() / 20
            return await super().complete(request)

    with serving(Jittery()) as endpoint:
        ask(endpoint, data, output)
    rows = read_jsonl(output)
    assert [row["id"] for row in rows] == [f"r{i}" for i in range(50)]
    assert all(set(row) == {"id", "rationale", "teacher", "input_digest"} for row in rows)
    assert all(f"case number {row['id'][1:]}" in row["rationale"] for row in rows)
    assert not any(SENTINEL in row["rationale"] or "keep" in row["rationale"] for row in rows)
    assert {row["teacher"] for row in rows} == {"openai:tiny"}


def test_the_manifest_says_where_it_comes_from(tmp_path: Path) -> None:
    output = tmp_path / "o.jsonl"
    with serving(FaultyEndpoint(script=["500", "refusal"])) as endpoint:
        ask(
            endpoint,
            write_cases(tmp_path / "d.jsonl", 4),
            output,
            temperature=0.5,
            input_price=1,
            output_price=2,
            concurrency=1,
        )
    found = manifest(output)
    assert found["teacher"] == "openai:tiny"
    assert found["endpoint_hosts"] == ["127.0.0.1"]
    assert endpoint.url not in json.dumps(found)
    assert found["sha256"] == hashlib.sha256(output.read_bytes()).hexdigest()
    assert found["template"]["sha256"] == hashlib.sha256(found["template"]["text"].encode()).hexdigest()
    assert found["sampling"]["temperature"] == 0.5
    assert found["rows"] == {
        "total": 4,
        "with_rationale": 3,
        "naming_another_label": 2,  # it always answers "keep", and r1 and r3 are a "return"
        "rejected": {"refused": 1},
        "not_asked": 0,
    }
    assert found["requests_of_last_run"] == {"sent": 5, "answered": 4, "failed": {"HTTP 500": 1}}
    assert found["answers"] == 4
    tokens = found["tokens"]
    assert found["cost"] == pytest.approx((tokens["prompt"] + 2 * tokens["completion"]) / 1e6)
    assert found["dates"]["first_answer"] <= found["dates"]["last_answer"]


def test_files_of_others_are_not_overwritten(tmp_path: Path) -> None:
    data = write_cases(tmp_path / "d.jsonl", 2)
    nobody = FaultyEndpoint(url="http://127.0.0.1:9/v1")
    for output, message in (
        (data, "would overwrite an input"),
        (write_jsonl(tmp_path / "mine.jsonl", []), "exists without a mine.answers.sqlite beside it"),
        (tmp_path / "o.json", "give a name that ends in .jsonl"),
        (tmp_path / "nowhere" / "o.jsonl", "create it first"),
    ):
        with pytest.raises(ConfigError, match=message):
            ask(nobody, data, output)
