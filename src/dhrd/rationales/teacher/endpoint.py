"""One OpenAI-compatible endpoint: a question until it is answered or given up, and one request."""

from __future__ import annotations

import asyncio
import email.utils
import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from dhrd._extras import require
from dhrd.config import TeacherSettings
from dhrd.config.published import masked
from dhrd.errors import TeacherError
from dhrd.rationales.teacher.access import access_of
from dhrd.rationales.teacher.answers import Answer
from dhrd.rationales.teacher.completion import Completion, parse, read_completion
from dhrd.rationales.teacher.failures import (
    WEB_PAGE,
    Fault,
    NoAnswer,
    RowRefused,
    failure_of,
    is_page,
    read_fault,
    refuses_limit,
)
from dhrd.rationales.teacher.tally import Estimate, Pace, Tally

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 60.0
_RETRIES_OF_A_STRANGER = 2  # an address that never answered is likely mistyped
_OTHER_NAME = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
_LONGEST_SAID = 200


class Endpoint:
    """An OpenAI-compatible endpoint, through the official SDK.

    The key comes from OPENAI_API_KEY and is in no message: what an endpoint says is cleared of it, and of the prompt.

    Args:
        settings: The teacher's settings.
        tally: Counts every request.
        estimate: Estimates tokens, for the pace.
        on_lost: Called with the prompt of each request that may be billed although no answer came.

    Attributes:
        stopped: Whether to send nothing more, as the run ends.
        busy: Tasks with a request in flight or an answer not yet stored; a task removes itself once it is stored.

    Raises:
        ConfigError: There is neither a key nor the address of an endpoint that may need none, or one cannot be sent.
        MissingExtra: The SDK is not installed.
    """

    def __init__(
        self,
        settings: TeacherSettings,
        tally: Tally,
        estimate: Estimate,
        on_lost: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._openai = require("openai", extra="teacher")
        self._access = access = access_of(settings)
        self.host = access.host
        self.stopped = False
        self.busy: set[asyncio.Task[object] | None] = set()
        self._client = self._openai.AsyncOpenAI(
            api_key=access.key or "none",
            base_url=access.address.url,
            organization=access.organization,
            project=access.project,
            default_query=dict(access.address.query),
            default_headers=dict(access.headers),
            max_retries=0,  # ours are counted, and known to the pace and the budget
            timeout=settings.timeout_s,
            # A redirect would take rows, and the headers that are not httpx's own, to a host that nobody named
            http_client=self._openai.DefaultAioHttpClient(timeout=settings.timeout_s, follow_redirects=False),
        )
        self._settings = settings
        self._tally = tally
        self._estimate = estimate
        self._on_lost = on_lost
        self._requests = Pace(settings.requests_per_minute)
        self._tokens = Pace(settings.tokens_per_minute)
        self._model = settings.model
        # OpenAI's newer models refuse the old name of the limit; other servers may know no other.
        self._limit_name = "max_completion_tokens" if access.is_openai else "max_tokens"
        self._may_rename = True

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def answer(self, prompt: str, attempt: int) -> Answer:
        """Ask one question, again with growing pauses where no answer comes.

        Args:
            prompt: The question.
            attempt: Number of answers it already has, which changes the seed.

        Raises:
            NoAnswer: None came, however often it was sent.
            RowRefused: The endpoint does not take this question.
            TeacherError: No request can succeed.
        """
        retry = 0
        while True:
            limit_name = self._limit_name
            try:
                return await self._paced(prompt, attempt)
            except (NoAnswer, RowRefused) as failure:
                self.busy.discard(asyncio.current_task())
                self._tally.failures[failure.kind] += 1
                if isinstance(failure, RowRefused):
                    if self._renames(limit_name, failure.fault) and not self.stopped:
                        continue
                    raise
                if failure.may_be_billed:
                    self._on_lost(prompt)
                if self.stopped or retry >= self._most_retries(failure):
                    raise
                pause = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2**retry) * random.uniform(0.5, 1.5)
                await asyncio.sleep(max(pause, failure.retry_after_s))
            retry += 1

    def _renames(self, limit_name: str, fault: Fault) -> bool:
        """Whether to send a request again, with the other name of the limit: once for all requests of a run."""
        if not refuses_limit(fault, limit_name):
            return False
        if self._may_rename and limit_name == self._limit_name:
            self._limit_name, self._may_rename = _OTHER_NAME[limit_name], False
        return self._limit_name != limit_name

    def _most_retries(self, failure: NoAnswer) -> int:
        stranger = failure.kind in ("connection", "web page") and not self._tally.num_answers
        return min(self._settings.max_retries, _RETRIES_OF_A_STRANGER) if stranger else self._settings.max_retries

    async def _paced(self, prompt: str, attempt: int) -> Answer:
        expected = self._estimate.prompt_tokens(prompt) + self._estimate.tokens_per_answer
        await self._requests.wait()
        await self._tokens.wait(expected)
        self.busy.add(asyncio.current_task())
        answer = await self._send(prompt, attempt)
        self._tokens.correct(answer.prompt_tokens + answer.completion_tokens - expected)
        return answer

    async def _send(self, prompt: str, attempt: int) -> Answer:
        settings, openai = self._settings, self._openai
        self._tally.num_requests += 1
        try:
            # The SDK's timeout is for silence; this one also ends an answer that drips. And `post` leaves the answer
            # unparsed: its models would be filled in unchecked, for a third of the client's time.
            async with asyncio.timeout(settings.timeout_s):
                body = await self._client.post("/chat/completions", body=self._body(prompt, attempt), cast_to=object)
        except TimeoutError:
            said = f"no whole answer within {settings.timeout_s:g} s"
            raise NoAnswer("timeout", said, may_be_billed=True) from None
        except openai.APIStatusError as error:
            raise self._refused(error, prompt) from None
        except openai.APIConnectionError as error:  # timeouts too
            raise self._disconnected(error, prompt) from None
        except (openai.APIError, ValueError, RecursionError) as error:
            if is_page(str(getattr(error, "doc", ""))):  # it calls itself JSON
                raise NoAnswer("web page", WEB_PAGE) from None
            raise NoAnswer("malformed", self._clean(error, prompt), may_be_billed=True) from None
        found = read_completion(parse(body))
        if isinstance(found, Fault):
            raise self._meaning(found, prompt)
        return self.record(prompt, found)

    def _body(self, prompt: str, attempt: int) -> dict[str, object]:
        settings = self._settings
        body = {
            "model": self._model,
            "messages": [{"role": "user", "content": prompt}],
            "temperature": settings.temperature,
            "top_p": settings.top_p,
            "seed": settings.seed + attempt if settings.seed is not None else None,
            "reasoning_effort": settings.reasoning_effort,
            self._limit_name: settings.max_tokens,
        }
        return {name: value for name, value in body.items() if value is not None} | settings.extra_body

    def _disconnected(self, error: Exception, prompt: str) -> NoAnswer:
        """No response: the connection failed, or was cut after the request was sent."""
        kind = type(error.__cause__).__name__
        never_began = kind in ("ConnectTimeout", "ConnectError")  # by the aiohttp transport a refused one is the former
        said = self._clean(error.__cause__ or error, prompt)
        timeout = isinstance(error, self._openai.APITimeoutError) and not never_began
        return NoAnswer("timeout" if timeout else "connection", said, may_be_billed=not never_began)

    def _refused(self, error: Any, prompt: str) -> Exception:
        """What an HTTP status means: ask again, give this row up, or stop altogether."""
        if 300 <= error.status_code < 400:
            place = masked(error.response.headers.get("location", "another address"))
            told = f"{self.host} redirects to {place}, where rows and keys are not sent unasked"
            return TeacherError(f"{told}; if you trust it, give that as `teacher.base_url`")
        body = getattr(error, "body", None)
        if body is None or (isinstance(body, str) and is_page(body)):
            body = WEB_PAGE if is_page(error.response.text) else error.response.text
        return self._meaning(read_fault(body, error.status_code), prompt, _retry_after(error.response.headers))

    def _meaning(self, fault: Fault, prompt: str, wait_s: float = 0.0) -> Exception:
        shown = replace(fault, said=self._clean(fault.said, prompt))
        return failure_of(shown, host=self.host, model=self._model, wait_s=wait_s)

    def record(self, prompt: str, found: Completion | None = None, failure: str | None = None) -> Answer:
        """An answer, or a refusal, for the store; tokens that the endpoint does not count are estimated."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        answer = Answer(failure=failure, max_tokens=self._settings.max_tokens, host=self.host, time=now)
        if found is None:  # what was not answered tells no tokens a byte
            return answer
        return replace(
            answer,
            text=found.content.text,
            finish=found.finish,
            refusal=found.content.refusal,
            problem=found.content.problem,
            prompt_bytes=len(prompt.encode()),
            prompt_tokens=found.prompt_tokens or self._estimate.prompt_tokens(prompt),
            completion_tokens=found.completion_tokens or found.size // 4,
        )

    def _clean(self, said: object, prompt: str) -> str:
        """An endpoint's words as one short line, without secrets and without the prompt."""
        text = self._access.hushed(str(said), prompt) or type(said).__name__
        return text if len(text) <= _LONGEST_SAID else text[:_LONGEST_SAID] + " …"


def _retry_after(headers: Mapping[str, str]) -> float:
    """Seconds that a Retry-After header asks for, given as a number or as a date; 0 where there is none."""
    value = headers.get("retry-after", "")
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, (email.utils.parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return 0.0
