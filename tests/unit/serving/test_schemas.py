"""Bodies of requests: the shapes of other servers are read, other types are not made to fit."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from dhrd.serving.schemas import ClassifyRequest, ExplainRequest, PredictRequest


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (ClassifyRequest, {"input": "a"}),
        (ClassifyRequest, {"model": "m", "input": ["a", {"premise": "b"}], "user": "x", "priority": 3}),
        (PredictRequest, {"inputs": "a", "raw_scores": False, "truncate": True}),
        (PredictRequest, {"inputs": [["a"], ["b"]]}),
        (ExplainRequest, {"input": {"input_text": "a"}, "max_new_tokens": 5}),
    ],
)
def test_what_clients_send_is_read(kind: type[BaseModel], body: dict[str, Any]) -> None:
    read = kind.model_validate(body)
    assert {name: getattr(read, name) for name in body if name in kind.model_fields}.items() <= body.items()


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        *[(ClassifyRequest, {"input": wrong}) for wrong in (3, None, [], [1, 2], [["a"]], [[1, 2]], True)],
        (ClassifyRequest, {"input": "a", "model": 3}),
        (PredictRequest, {"inputs": "a", "truncate": "yes"}),
        (PredictRequest, {"input": "a"}),
        *[(ExplainRequest, {"input": "a", "max_new_tokens": wrong}) for wrong in (0, "5", 2.5, True)],
    ],
)
def test_other_types_are_not_made_to_fit(kind: type[BaseModel], body: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        kind.model_validate(body)
