"""Admission of requests: key, limits and deadline, and the response to failures."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dhrd.serving.limits import Limits, Refusal
from dhrd.serving.monitoring import ServerMetrics, log_failure
from dhrd.serving.schemas import ErrorResponse, Problem

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

OPEN = ("/", "/health", "/ready", "/openapi.json")
"""Paths that need no key."""

PATHS = ("/classify", "/predict", "/v1/explain", "/info", "/metrics", *OPEN)
"""All paths."""

_GONE = 499  # nginx's code for a request whose client hung up; nobody reads it
_DISCARDED = 16  # times the size limit: bytes read and discarded, so that the sender gets to read the response


class _GoneError(Exception):
    """The client hung up."""


@dataclass(slots=True)
class Gate:
    """The state of the server's requests.

    Args:
        drains_since: When it stopped accepting requests, by the monotonic clock; None: it accepts them.
        in_flight: Number of accepted requests that are not answered yet.
    """

    drains_since: float | None = None
    in_flight: int = 0

    @property
    def is_draining(self) -> bool:
        """Whether new requests are refused."""
        return self.drains_since is not None

    def drain(self) -> None:
        """Refuse new requests from now on."""
        self.drains_since = self.drains_since or time.monotonic()

    def is_over(self, seconds: float) -> bool:
        """Whether all requests are answered and new ones have been refused for some seconds."""
        return self.drains_since is not None and not self.in_flight and time.monotonic() > self.drains_since + seconds


def refused(refusal: Refusal) -> Response:
    """The response to a refused request."""
    from starlette.responses import JSONResponse

    problem = Problem(type=refusal.kind, message=refusal.message, param=refusal.param, code=refusal.status)
    headers = {} if refusal.retry_after_s is None else {"Retry-After": str(refusal.retry_after_s)}
    if refusal.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(ErrorResponse(error=problem).model_dump(), refusal.status, headers)


@dataclass(slots=True)
class Guard:
    """Middleware that checks key, number of requests, body size and deadline, and responds to failures.

    Args:
        app: The application behind it.
        limits: Limits on requests.
        key: The key that requests must carry; None: no key is required.
        metrics: Metrics to update with every request.
        gate: The request state to keep up to date.
        retry_after_s: Returns the seconds after which to try again.
    """

    app: ASGIApp
    limits: Limits
    key: str | None
    metrics: ServerMetrics
    gate: Gate
    retry_after_s: Callable[[], int]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start, answer = time.monotonic(), _Answer(send)
        try:
            await self._checked(scope, receive, answer)
        except _GoneError:
            answer.status = answer.status or _GONE
        except Refusal as refusal:
            await refused(refusal)(scope, receive, answer.send)
        except Exception as error:  # not logged in full, as its message may quote a row
            log_failure("a request", error)
            if not answer.status:
                failed = Refusal(500, "internal_error", "internal error; see the server's log")
                await refused(failed)(scope, receive, answer.send)
        path = scope["path"] if scope["path"] in PATHS else "other"
        self.metrics.answered(path, answer.status, time.monotonic() - start)

    async def _checked(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        if self.key is not None and scope["path"] not in OPEN and not _carries(scope, self.key):
            raise Refusal(401, "no_key", "the key is missing or wrong; send it as Authorization: Bearer KEY")
        if scope["method"] != "POST":
            await self.app(scope, receive, answer.send)
            return
        self._admit()
        self.gate.in_flight += 1
        self.metrics.in_flight.set(self.gate.in_flight)
        try:
            async with asyncio.timeout(self.limits.deadline_s):
                body = await self._body(scope, receive)
                await _unless_gone(self.app(scope, _replayed(body, receive), answer.send), answer, receive)
        except TimeoutError:
            raise self._late() from None
        finally:
            self.gate.in_flight -= 1
            self.metrics.in_flight.set(self.gate.in_flight)

    def _admit(self) -> None:
        if self.gate.is_draining:
            raise Refusal(503, "draining", "the server is shutting down; try another one, or later", retry_after_s=5)
        if self.gate.in_flight >= self.limits.max_requests:
            message = f"{self.limits.max_requests} requests are in progress; try again after the time in Retry-After"
            raise Refusal(429, "too_many_requests", message, retry_after_s=self.retry_after_s())

    def _late(self) -> Refusal:
        message = f"not answered within {self.limits.deadline_s:g} s; try again later, or with fewer rows at once"
        return Refusal(503, "deadline", message, retry_after_s=self.retry_after_s())

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        most, size, chunks = self.limits.max_bytes, 0, []
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _GoneError
            chunk = message.get("body", b"")
            size += len(chunk)
            chunks.append(chunk) if size <= most else chunks.clear()
            is_last = not message.get("more_body", False)
            if size > most and (is_last or size > _DISCARDED * most):
                raise Refusal(413, "too_many_bytes", f"the body exceeds {most} bytes; send fewer rows at once")
            if is_last:
                return b"".join(chunks)


@dataclass(slots=True)
class _Answer:
    """Records the status of the response."""

    _send: Send
    status: int = field(default=0)

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self._send(message)


def _carries(scope: Scope, key: str) -> bool:
    given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
    return hmac.compare_digest(given, b"Bearer " + key.encode())


async def _unless_gone(answering: Awaitable[None], answer: _Answer, receive: Receive) -> None:
    """Handle the request, or cancel at once if the client hangs up, so that its rows leave the queue."""
    tasks = answered, _ = asyncio.ensure_future(answering), asyncio.ensure_future(receive())
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if not answered.done() and not answer.status:
            raise _GoneError
        await answered
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(
            *tasks, return_exceptions=True
        )  # retrieve exceptions, which asyncio would otherwise log, possibly quoting a row


def _replayed(body: bytes, receive: Receive) -> Receive:
    """A `receive` that replays an already read body, then passes on what follows."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_message() -> Message:
        return messages.pop() if messages else await receive()

    return next_message
