"""The ASGI application: routes, the guard in front of them, and uniform error responses."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from dhrd._extras import require
from dhrd._versions import library_versions
from dhrd.data.json_rows import unique_keys
from dhrd.inference.classifier import Classifier
from dhrd.model.memory import own_weights
from dhrd.serving.guard import Gate, Guard, refused
from dhrd.serving.limits import Limits, Refusal, check_number
from dhrd.serving.monitoring import ServerMetrics
from dhrd.serving.routes import Service
from dhrd.serving.schemas import ErrorResponse

if TYPE_CHECKING:
    from fastapi import FastAPI
    from fastapi.routing import APIRoute
    from starlette.requests import Request
    from starlette.responses import Response

_Responses = dict[int | str, dict[str, Any]]

_REFUSALS = {
    400: "The body is not JSON.",
    401: "The key is missing or wrong.",
    404: "The path or model was not found.",
    413: "The request is too large.",
    422: "A field or a row is invalid.",
    429: "The server is busy; Retry-After says when to try again.",
    500: "The server failed.",
    503: "The deadline passed, or the server is shutting down.",
}


_BODY = "send a JSON object with the header Content-Type: application/json; see /openapi.json"
_ROWS = "send a text, an object with the columns listed by /info, or a non-empty list of these"


class Served(NamedTuple):
    """An application and the state of its requests."""

    app: FastAPI
    gate: Gate


def create_app(classifier: Classifier, *, name: str, limits: Limits | None = None, key: str | None = None) -> Served:
    """Create the application for a classifier; its lifespan stops the classifier's threads.

    Args:
        classifier: The loaded classifier.
        name: The model's name for clients.
        limits: Limits on requests.
        key: The key that requests must carry; None: no key is required.

    Raises:
        MissingExtra: The extra `serve` is not installed.
    """
    require("fastapi", extra="serve")
    from fastapi import FastAPI
    from fastapi.exceptions import RequestValidationError
    from starlette.exceptions import HTTPException

    own_weights(classifier.body)
    own_weights(classifier.head)
    limits, metrics, gate = limits or Limits(), ServerMetrics(), Gate()
    service = Service(classifier, name, limits, metrics, gate)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()

    app = FastAPI(
        title="dhrd", version=library_versions()["dhrd"], docs_url=None, redoc_url=None, lifespan=lifespan,
        description=f"The classifier {name}.",
    )  # fmt: skip
    app.router.route_class = _strict_route(limits)
    _add_routes(app, service)
    for kind, handler in ((Refusal, _on_refusal), (RequestValidationError, _on_invalid), (HTTPException, _on_http)):
        app.add_exception_handler(kind, handler)
    app.add_middleware(  # by name: older starlette gives `app` by its name, too
        Guard,
        limits=limits,
        key=key,
        metrics=metrics,
        gate=gate,
        retry_after_s=lambda: service.dispatcher.retry_after_s,
    )
    return Served(app, gate)


def _strict_route(limits: Limits) -> type[APIRoute]:
    """A route that refuses a body of which the standard parser would keep the last of two values for one key, and one
    of too many rows before any of them is looked at."""
    from fastapi.routing import APIRoute
    from starlette.requests import Request

    class StrictRequest(Request):
        async def json(self) -> Any:
            body = json.loads(await self.body(), object_pairs_hook=_unique_keys)
            for name in ("input", "inputs"):
                rows = body.get(name) if isinstance(body, dict) else None
                if isinstance(rows, list):
                    check_number(rows, limits.max_rows, name)
            return body

    class StrictRoute(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle = super().get_route_handler()

            async def strictly(request: Request) -> Response:
                return await handle(StrictRequest(request.scope, request.receive))

            return strictly

    return StrictRoute


def _unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    try:
        return unique_keys(pairs)
    except ValueError as error:
        raise Refusal(400, "invalid_json", f"the body is not JSON: {error}") from None


def _add_routes(app: FastAPI, service: Service) -> None:
    told: _Responses = {s: {"model": ErrorResponse, "description": text} for s, text in _REFUSALS.items()}
    app.add_api_route("/classify", service.classify, methods=["POST"], responses=told)
    app.add_api_route("/predict", service.predict, methods=["POST"], responses=told)
    app.add_api_route("/v1/explain", service.explain, methods=["POST"], responses=told)
    few: _Responses = {status: told[status] for status in (401, 500, 503)}
    app.add_api_route("/health", service.health, methods=["GET"])
    app.add_api_route("/ready", service.ready, methods=["GET"], responses=few)
    app.add_api_route("/info", service.info, methods=["GET"], responses=few)
    counters: _Responses = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}
    app.add_api_route(
        "/metrics", service.prometheus, methods=["GET"], responses={**few, **counters}, response_model=None
    )
    app.add_api_route("/", service.page, methods=["GET"], include_in_schema=False, response_model=None)


async def _on_refusal(request: Request, refusal: Exception) -> Response:
    assert isinstance(refusal, Refusal)
    return refused(refusal)


async def _on_invalid(request: Request, error: Exception) -> Response:
    """Report the first problem of a body, without quoting its content."""
    from fastapi.exceptions import RequestValidationError

    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    param = ".".join(map(str, first["loc"][1:]))
    if first["type"] == "json_invalid":
        return refused(Refusal(400, "invalid_json", f"the body is not JSON ({first['ctx']['error']}, at {param})"))
    field = param.partition(".")[0]
    message = f"{first['msg']}; see /openapi.json" if field else _BODY
    wanted = _ROWS if field in ("input", "inputs") else message
    return refused(Refusal(422, "invalid_request", f"{field or 'body'}: {wanted}", param=field or None))


async def _on_http(request: Request, error: Exception) -> Response:
    from starlette.exceptions import HTTPException

    assert isinstance(error, HTTPException)
    if isinstance(error.__cause__, Refusal):  # FastAPI's own is what a body raises
        return refused(error.__cause__)
    messages = {
        400: Refusal(400, "invalid_json", "the body cannot be parsed; send JSON in UTF-8, not deeply nested"),
        404: Refusal(404, "unknown_path", "no such path; see /openapi.json"),
        405: Refusal(405, "unknown_method", "method not allowed; see /openapi.json"),
    }
    response = refused(messages.get(error.status_code, Refusal(error.status_code, "http", str(error.detail))))
    response.headers.update(error.headers or {})
    return response
