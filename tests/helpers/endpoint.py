"""An OpenAI-compatible endpoint on loopback that misbehaves on purpose, and counts what it is asked."""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from unittest.mock import patch

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from dhrd.rationales.teacher.prompt import SENTINEL

FAULTS = (
    "429",
    "429 with Retry-After",
    "500",
    "hang",
    "cut connection",
    "invalid JSON",
    "empty choices",
    "finish_reason length",
    "slow drip",
    "no sentinel",
    "empty",
    "refusal",
)
"""Everything that an endpoint can do instead of answering."""

WITHOUT_ANSWER = FAULTS[:6] + ("slow drip",)
"""Faults after which nothing was said: the request is sent again."""


def explain(prompt: str) -> str:
    """A well-formed answer, another one for each prompt."""
    return f"It follows from the words {prompt[:40]!r}.\n{SENTINEL}\nkeep"


@dataclass
class FaultyEndpoint:
    """The server's behaviour and its books.

    Args:
        rates: Share of requests that meet each fault.
        seed: Decides which.
        delay_s: Time to answer.
        reply: From a prompt to the answer's text.
        script: Faults of the first requests, in order ("ok": none), before `rates` hold.
    """

    rates: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    delay_s: float = 0.0
    reply: Callable[[str], str] = explain
    script: list[str] = field(default_factory=list)
    url: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    queries: list[dict[str, str]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    in_flight: int = 0
    most_in_flight: int = 0

    def __post_init__(self) -> None:
        self._rng = random.Random(self.seed)

    @property
    def num_requests(self) -> int:
        """Requests that arrived."""
        return len(self.requests)

    def _fault(self) -> str:
        if self.script:
            return self.script.pop(0)
        at = self._rng.random()
        for fault, rate in self.rates.items():
            at -= rate
            if at < 0:
                return fault
        return "ok"

    async def complete(self, request: Request) -> Response:
        """POST /v1/chat/completions"""
        body = await request.json()
        self.requests.append(body)
        self.headers.append(dict(request.headers))
        self.queries.append(dict(request.query_params))
        self.times.append(time.monotonic())
        fault = self._fault()
        self.outcomes[fault] += 1
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(30 if fault == "hang" else self.delay_s)
        finally:
            self.in_flight -= 1
        return self._response(body, fault)

    def _response(self, body: dict[str, Any], fault: str) -> Response:
        prompt = body["messages"][0]["content"]
        text = self.reply(prompt)
        if fault.startswith("429"):
            headers = {"Retry-After": "1"} if "Retry-After" in fault else {}
            return JSONResponse({"error": {"message": "slow down"}}, 429, headers)
        if fault.isdigit():
            return JSONResponse({"error": {"message": f"status {fault}"}}, int(fault))
        if fault == "invalid JSON":
            return Response('{"id": "x", "choices": [{"mess', media_type="application/json")
        if fault == "cut connection":
            return StreamingResponse(_cut(), media_type="application/json", headers={"Content-Length": "10000"})
        text = {"no sentinel": text.partition("\n")[0], "empty": "", "refusal": ""}.get(fault, text)
        if fault == "finish_reason length":
            text = text[:12]
        if fault not in FAULTS or fault == "slow drip":
            self.answered[prompt] += fault != "slow drip"
        answer = _completion(body, text, fault)
        if fault == "slow drip":
            return StreamingResponse(_drip(json.dumps(answer)), media_type="application/json")
        return JSONResponse(answer)


def _completion(body: dict[str, Any], text: str, fault: str) -> dict[str, Any]:
    refusal = "I will not" if fault == "refusal" else None
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text, "refusal": refusal},
        "finish_reason": "length" if fault == "finish_reason length" else "stop",
    }
    prompt_tokens, completion_tokens = len(body["messages"][0]["content"]) // 4, len(text) // 4
    return {
        "id": "x",
        "object": "chat.completion",
        "created": 0,
        "model": body["model"],
        "choices": [] if fault == "empty choices" else [choice],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
        },
    }


@dataclass
class VotingEndpoint(FaultyEndpoint):
    """An endpoint that may answer a question differently each time: by its prompt and its seed."""

    vote: Callable[[str, int], str] = lambda prompt, seed: "keep"

    def _response(self, body: dict[str, Any], fault: str) -> Response:
        self.reply = lambda prompt: self.vote(prompt, body["seed"])
        return super()._response(body, fault)


Scripted = Callable[[int, str], "Response | dict[str, Any] | None"]
"""From a request's number and prompt to a response, or its JSON; None: an ordinary answer."""


@dataclass
class ScriptedEndpoint(FaultyEndpoint):
    """An endpoint that says what it is told to."""

    respond: Scripted = lambda number, prompt: None

    def _response(self, body: dict[str, Any], fault: str) -> Response:
        number = next(index for index, request in enumerate(self.requests) if request is body)
        told = self.respond(number, body["messages"][0]["content"])
        if told is None:
            return super()._response(body, fault)
        return JSONResponse(told) if isinstance(told, dict) else told


def error(status: int, message: str = "no", **parts: Any) -> Response:
    """An HTTP error as OpenAI writes it."""
    return JSONResponse({"error": {"message": message, **parts}}, status)


def completion(content: Any, finish: Any = "stop", usage: Any = (10, 5), **message: Any) -> dict[str, Any]:
    """The JSON of an answer; `usage` is a mapping, prompt and answer tokens, or None."""
    if isinstance(usage, tuple):
        usage = {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)}
    choice = {"index": 0, "message": {"role": "assistant", "content": content, **message}, "finish_reason": finish}
    return {"choices": [choice]} | ({"usage": usage} if usage is not None else {})


async def _cut() -> AsyncIterator[bytes]:
    yield b'{"id": "x", "cho'
    raise ConnectionAbortedError


async def _drip(text: str) -> AsyncIterator[bytes]:
    for byte in text.encode():
        yield bytes([byte])
        await asyncio.sleep(0.1)


_SERVED: dict[str, FaultyEndpoint] = {}
"""By the first part of their path."""


async def _complete(request: Request) -> Response:
    return await _SERVED[request.path_params["name"]].complete(request)


@cache
def _address() -> str:
    """Of the one server of all endpoints of this process: to start and to end one takes longer than most tests."""
    app = Starlette(routes=[Route("/{name}/v1/chat/completions", _complete, methods=["POST"])])
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical"))
    threading.Thread(target=server.run, daemon=True).start()
    deadline = time.monotonic() + 30
    while not server.started:
        assert time.monotonic() < deadline, "the endpoint does not start"
        time.sleep(0.01)
    return f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"


@contextmanager
def serving(endpoint: FaultyEndpoint, first_wait_s: float = 0.05) -> Iterator[FaultyEndpoint]:
    """Serve an endpoint on loopback; its `url` is the base URL.

    Args:
        endpoint: What answers.
        first_wait_s: How long a client in this process waits before it asks again.
    """
    name = f"{len(_SERVED)}"
    _SERVED[name] = endpoint
    endpoint.url = f"{_address()}/{name}/v1"
    with patch("dhrd.rationales.teacher.endpoint._FIRST_WAIT_S", first_wait_s):
        yield endpoint
