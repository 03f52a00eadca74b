"""The result's form: files of earlier versions are read, and what was not measured is not written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from dhrd.benchmark.result import BenchmarkResult, ContenderResult, DecodingResult, Memory, Spread

FILES = Path(__file__).resolve().parents[3] / "benchmarks" / "results"


def test_an_earlier_file_is_read() -> None:
    written = json.loads((FILES / "inference_boolq.json").read_text(encoding="utf-8"))["boolq"]
    result = BenchmarkResult.model_validate(written)
    assert result.contenders["dhrd"].queries_per_second.median == pytest.approx(25.4, abs=0.1)
    assert (result.pipeline_best_batch_size, result.sweeps.batch_size[0].batch_size) == (8, 1)
    assert result.parity is not None
    assert result.parity.as_run.label_agreement == 1
    again = result.model_dump(mode="json")
    for name in ("rows", "contenders", "dhrd_over", "work", "roofline", "sweeps", "parity", "conditions"):
        assert again[name] == written[name], name
    assert "decoding" not in again  # it was not measured


def test_earlier_ways_to_decode_are_read() -> None:
    written = json.loads((FILES / "inference_decoding.json").read_text(encoding="utf-8"))["decoding"]
    results = {name: DecodingResult.model_validate(way) for name, way in written["decoding"].items()}
    assert len(results) >= 3
    assert {name: way.model_dump(mode="json") for name, way in results.items()} == written["decoding"]
    assert {name: ContenderResult.model_validate(one) for name, one in written["contenders"].items()}["dhrd"].memory


def test_a_key_that_is_missing_is_an_error() -> None:
    with pytest.raises(ValidationError, match="peak_increase_bytes"):
        Memory.model_validate({"peak_memory_bytes": 1})
    assert Spread(median=2, min=1, max=3).model_dump() == {"median": 2, "min": 1, "max": 3}
