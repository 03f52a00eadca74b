"""Chain of thought beside the classifier: what its figures say."""

from __future__ import annotations

from dhrd.benchmark import decoding
from dhrd.benchmark.contenders import BenchmarkRows
from dhrd.inference.decoding import Decoded, TimedDecoding


def test_an_unreadable_answer_is_wrong() -> None:
    said = TimedDecoding([Decoded("", one, 4) for one in ("a", None, "b", "a")], seconds=8.0)
    found = decoding._result("greedy", said, BenchmarkRows([], [], [], gold=list("aabb")))
    assert found.accuracy == 0.5
    assert found.unparsable_share == 0.25
    assert (found.queries_per_second, found.tokens_per_second) == (0.5, 2.0)
    assert found.accuracy_interval_95 is not None
    assert found.accuracy_interval_95[0] < 0.5 < found.accuracy_interval_95[1]


def test_rows_without_labels_have_no_accuracy() -> None:
    said = TimedDecoding([Decoded("", "a", 4)], seconds=1.0)
    found = decoding._result("greedy", said, BenchmarkRows([], [], []))
    assert found.accuracy is None
    assert "accuracy_interval_95" not in found.model_dump()
