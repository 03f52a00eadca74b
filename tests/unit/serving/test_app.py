"""The application: one shape of errors whatever comes in, and its description of itself."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from pydantic import ValidationError

from dhrd import Classifier, MissingExtra
from dhrd.serving import app as application
from dhrd.serving.schemas import PredictRequest
from helpers.artifacts import save_tiny
from helpers.serving import Running, running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    directory = save_tiny(tmp_path_factory.mktemp("app") / "tiny")
    with running(Classifier.from_pretrained(directory, device="cpu", dtype=None)) as found:
        yield found


DEEP = "[" * 100_000 + "]" * 100_000
BODIES = {
    "nothing": b"",
    "a field twice": b'{"input": "a", "input": "b"}',
    "a column twice": b'{"input": [{"input_text": "a"}, {"input_text": "a", "input_text": "b"}]}',
    "no JSON": b"{",
    "half a string": b'{"input": "a',
    "bytes that are no text": b'{"input": "\xff\xfe"}',
    "half an emoji": b'{"input": "\\ud83d"}',
    "half an emoji in a column": b'{"input": {"input_text": "\\ud83d"}}',
    "half an emoji as a column": b'{"input": {"\\ud83d": "a"}}',
    "half an emoji as a field": b'{"\\ud83d": "a"}',
    "10 MB": json.dumps({"input": "x" * 10_000_000}).encode(),
    "10 MB of rows": json.dumps({"input": ["x"] * 2_000_000}).encode(),
    "deep": DEEP.encode(),
    "deep input": f'{{"input": {DEEP}}}'.encode(),
    "deep column": f'{{"input": {{"input_text": {"[" * 900 + "]" * 900}}}}}'.encode(),
    "deep column that is not read": f'{{"input": {{"b": {"[" * 200 + "]" * 200}}}}}'.encode(),
    "a number of many digits": b'{"input": ' + b"9" * 10_000 + b"}",
    "not a number": b'{"input": NaN}',
    "infinite": b'{"input": {"input_text": 1e999}}',
    "null": b"null",
    "a list": b'["a"]',
    "a number": b'{"input": 3}',
    "an empty text": b'{"input": ""}',
    "no rows": b'{"input": []}',
    "a row of null": b'{"input": ["a", null]}',
    "more rows than may come": json.dumps({"input": ["x"] * 1000}).encode(),
}


@pytest.mark.parametrize("body", BODIES.values(), ids=list(BODIES))
@pytest.mark.parametrize("path", ["/classify", "/predict", "/v1/explain"])
def test_bad_bodies_are_told_in_one_shape(server: Running, path: str, body: bytes) -> None:
    content = body.replace(b'"input":', b'"inputs":') if path == "/predict" else body
    response = server.client.post(path, content=content, headers={"Content-Type": "application/json"})
    assert 400 <= response.status_code < 500
    error = response.json()["error"]
    assert set(error) == {"type", "message", "param", "code"} and error["code"] == response.status_code
    assert error["message"].isprintable() and len(error["message"]) <= 300
    assert ";" in error["message"] or ":" in error["message"] or "not JSON" in error["message"]  # and what to do


def test_a_list_of_many_wrong_rows_costs_no_more_than_one(server: Running) -> None:
    """Too many are told before any is looked at, and of wrong ones the first alone is kept."""
    response = server.post("/classify", {"input": [1] * 100_000})
    assert (response.status_code, response.json()["error"]["type"]) == (413, "too_many_rows")
    with pytest.raises(ValidationError) as caught:
        PredictRequest.model_validate({"inputs": [[1] * 100_000]})
    assert len(caught.value.errors()) < 10


@pytest.mark.parametrize("name", ["a field twice", "a column twice"])
def test_a_key_that_occurs_twice_is_named(server: Running, name: str) -> None:
    headers = {"Content-Type": "application/json"}
    response = server.client.post("/classify", content=BODIES[name], headers=headers)
    key = "input" if "field" in name else "input_text"
    assert response.status_code == 400
    told = f"the body is not JSON: the key '{key}' occurs twice in one object; keep one of the two"
    assert response.json()["error"] == {"type": "invalid_json", "message": told, "param": None, "code": 400}


def test_other_types_and_addresses_are_told_in_the_same_shape(server: Running) -> None:
    form = server.client.post("/classify", data={"input": "a"})
    text = server.client.post("/classify", content='{"input": "a"}', headers={"Content-Type": "text/plain"})
    assert (form.status_code, text.status_code) == (422, 422)  # no page of another site can send JSON unasked
    assert "the header Content-Type: application/json" in form.json()["error"]["message"]
    assert form.json() == text.json()
    unknown, method = server.client.get("/docs"), server.client.get("/classify")
    assert (unknown.status_code, method.status_code, method.headers["allow"]) == (404, 405, "POST")
    for response in (form, text, unknown, method):
        assert set(response.json()["error"]) == {"type", "message", "param", "code"}


def test_what_is_there_is_described(server: Running) -> None:
    paths = server.client.get("/openapi.json").json()["paths"]
    assert set(paths) == {"/classify", "/predict", "/v1/explain", "/health", "/ready", "/info", "/metrics"}
    for path in ("/classify", "/predict", "/v1/explain"):
        assert set(paths[path]["post"]["responses"]) >= {"200", "400", "401", "413", "422", "429", "500", "503"}


def test_a_missing_extra_is_named(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(module: str, *, extra: str) -> None:
        raise MissingExtra(f"{module}, {extra}")

    monkeypatch.setattr(application, "require", missing)
    with pytest.raises(MissingExtra, match="fastapi, serve"):
        application.create_app(classifier, name="tiny")
