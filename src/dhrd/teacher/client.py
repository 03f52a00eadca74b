"""A teacher behind an OpenAI-compatible endpoint: many requests in flight, within the user's limits.

`ask` is the loop, `Endpoint.answer` one question until it is answered or given up, `Endpoint._send` one request.
"""

from __future__ import annotations

import asyncio
import email.utils
import os
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from dhrd._extras import require
from dhrd.config import TeacherSettings
from dhrd.errors import ConfigError, TeacherError
from dhrd.teacher.answers import Answer
from dhrd.teacher.session import Asked, Session
from dhrd.teacher.store import Store
from dhrd.teacher.tally import Budget, BudgetSpent, Estimate, Pace, Tally, cost

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 60.0
_LONGEST_RETRY_AFTER_S = 600.0  # who asks for more is better asked another day
_RETRIES_OF_A_STRANGER = 2  # an address that never answered is likely mistyped
_FAILURES_IN_A_ROW = 8  # or all places in flight, if more: then the endpoint is at fault, not the rows


def ask(questions: Iterator[Asked], session: Session) -> bool:
    """Put questions to an endpoint and store each answer as it comes.

    Args:
        questions: Those to be asked; read as places in flight become free.
        session: The settings, the store and the counts.

    Returns:
        Whether all were asked; False where `max_cost` stopped it.

    Raises:
        TeacherError: The endpoint takes no request: its key, model or address is wrong, or it is down.
        SaveError: An answer could not be stored; all before are.
    """
    return asyncio.run(_ask(questions, session))


async def _ask(questions: Iterator[Asked], session: Session) -> bool:
    settings = session.settings
    endpoint = Endpoint(settings, session.tally, session.estimate)
    ledger = _Ledger(session.store, session.tally, max(_FAILURES_IN_A_ROW, settings.concurrency))
    budget = Budget(settings.max_cost, session.cost() or 0.0)
    in_flight: set[str] = set()
    try:
        async with asyncio.TaskGroup() as group:
            places = [
                group.create_task(_work(questions, session, endpoint, ledger, budget, in_flight))
                for _ in range(settings.concurrency)
            ]
    except BaseExceptionGroup as errors:
        raise _first(errors) from None
    finally:
        await endpoint.close()
    await ledger.close()
    return all(place.result() for place in places)


def _first(error: BaseException) -> BaseException:
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


async def _work(
    questions: Iterator[Asked],
    session: Session,
    endpoint: Endpoint,
    ledger: _Ledger,
    budget: Budget,
    in_flight: set[str],
) -> bool:
    """One place in flight. All draw from one iterator, and ask a question until it is settled."""
    settings = session.settings
    for asked in questions:
        question = asked.question
        if question.key in in_flight:  # the same row twice: the answer to the one will serve both
            continue
        in_flight.add(question.key)
        while not session.is_settled(asked):
            most = cost(settings, session.estimate.prompt_tokens(question.prompt), settings.max_tokens) or 0.0
            answer = Answer()
            try:
                await budget.reserve(most)
            except BudgetSpent:
                return False
            try:
                answer = await endpoint.answer(question.prompt, asked.attempt)
            finally:
                await budget.settle(most, cost(settings, answer.prompt_tokens, answer.completion_tokens) or 0.0)
            await ledger.keep(question.key, answer)
            asked.answers.append(answer)
            if answer.failure is not None:
                break
        in_flight.remove(question.key)
        session.advance()
    return True


class _Ledger:
    """Stores answers: those that come while the disk is busy go there together.

    A failure is held back until the next answer shows that the endpoint is up and only this row failed: a run
    against an endpoint that is down must not reject its rows.
    """

    def __init__(self, store: Store, tally: Tally, most_failures: int) -> None:
        self._store = store
        self._tally = tally
        self._most_failures = most_failures
        self._waiting: list[tuple[str, Answer]] = []
        self._held: list[tuple[str, Answer]] = []
        self._disk = asyncio.Lock()

    async def keep(self, key: str, answer: Answer) -> None:
        """Return when the answer is on the disk (or, a failure, held back).

        Raises:
            TeacherError: So many failures came in a row that the endpoint must be at fault.
        """
        if answer.failure is not None:
            self._held.append((key, answer))
            if len(self._held) >= self._most_failures:
                raise self._endpoint_fails()
            return
        self._tally.add(answer)
        self._waiting += [*self._held, (key, answer)]
        self._held = []
        await self._write()

    async def close(self) -> None:
        """Store the failures that nothing followed, unless nothing was answered at all."""
        if self._held and not self._tally.num_answers:
            raise self._endpoint_fails()
        self._waiting, self._held = self._held, []
        await self._write()

    async def _write(self) -> None:
        async with self._disk:
            batch, self._waiting = self._waiting, []
            if batch:  # else the one who wrote before took ours along
                await asyncio.to_thread(self._store.append, batch)

    def _endpoint_fails(self) -> TeacherError:
        _, last = self._held[-1]
        return TeacherError(
            f"{last.host} answered none of the last {len(self._held)} questions ({last.failure}); all answers before "
            "are kept: mend the cause, then run the same command again"
        )


class _NoAnswer(Exception):
    """A request without an answer.

    Args:
        kind: For the count of failures.
        detail: What the endpoint said.
        again: Whether the same request sent again may get one.
        retry_after_s: How long the endpoint asks to wait.
    """

    def __init__(self, kind: str, detail: str = "", *, again: bool = True, retry_after_s: float = 0.0) -> None:
        super().__init__(f"{kind}: {detail}" if detail else kind)
        self.kind = kind
        self.again = again
        self.retry_after_s = retry_after_s


class Endpoint:
    """An OpenAI-compatible endpoint, through the official SDK.

    The key comes from OPENAI_API_KEY and is in no message: what an endpoint says is cleared of it.

    Args:
        settings: Of the teacher.
        tally: Counts every request.
        estimate: Tokens, for the pace.

    Raises:
        ConfigError: There is neither a key nor the address of an endpoint that may need none.
        MissingExtra: The SDK is not installed.
    """

    def __init__(self, settings: TeacherSettings, tally: Tally, estimate: Estimate) -> None:
        self._openai = require("openai", extra="teacher")
        self._key = os.environ.get("OPENAI_API_KEY", "")
        base_url = settings.base_url or os.environ.get("OPENAI_BASE_URL")
        if not self._key and not base_url:
            raise ConfigError("OPENAI_API_KEY is not set: export it, or give --base-url for an endpoint without keys")
        self._client = self._openai.AsyncOpenAI(
            api_key=self._key or "none",
            base_url=base_url,
            max_retries=0,  # ours are counted, and known to the pace and the budget
            timeout=settings.timeout_s,
            http_client=self._openai.DefaultAioHttpClient(timeout=settings.timeout_s),
        )
        self.host = str(self._client.base_url.host)
        self._settings = settings
        self._tally = tally
        self._estimate = estimate
        self._requests = Pace(settings.requests_per_minute)
        self._tokens = Pace(settings.tokens_per_minute)
        self._model = str(settings.name).partition(":")[2]
        # OpenAI's newer models refuse the old name of the limit; other servers may know no other.
        self._limit_name = "max_completion_tokens" if self.host.endswith("openai.com") else "max_tokens"

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def answer(self, prompt: str, attempt: int) -> Answer:
        """Ask one question, again with growing pauses where no answer comes.

        Args:
            prompt: The question.
            attempt: How many answers to it there are already; it moves the seed.

        Raises:
            TeacherError: No request can succeed.
        """
        retry = 0
        while True:
            try:
                return await self._paced(prompt, attempt)
            except _NoAnswer as failure:
                self._tally.failures[failure.kind] += 1
                if not failure.again or retry >= self._most_retries(failure):
                    return self._record(prompt, failure=str(failure))
                pause = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2**retry) * random.uniform(0.5, 1.5)
                await asyncio.sleep(max(pause, failure.retry_after_s))
            retry += 1

    def _most_retries(self, failure: _NoAnswer) -> int:
        stranger = failure.kind == "connection" and not self._tally.num_answers
        return min(self._settings.max_retries, _RETRIES_OF_A_STRANGER) if stranger else self._settings.max_retries

    async def _paced(self, prompt: str, attempt: int) -> Answer:
        expected = self._estimate.prompt_tokens(prompt) + self._estimate.tokens_per_answer
        await self._requests.wait()
        await self._tokens.wait(expected)
        answer = await self._send(prompt, attempt)
        self._tokens.correct(answer.prompt_tokens + answer.completion_tokens - expected)
        return answer

    async def _send(self, prompt: str, attempt: int) -> Answer:
        settings, openai = self._settings, self._openai
        body = {
            "model": self._model,
            "messages": [{"role": "user", "content": prompt}],
            "temperature": settings.temperature,
            "top_p": settings.top_p,
            "seed": settings.seed + attempt if settings.seed is not None else None,
            self._limit_name: settings.max_tokens,
        }
        body = {name: value for name, value in body.items() if value is not None}
        self._tally.num_requests += 1
        try:
            # The SDK's timeout is for silence; this one also ends an answer that drips. And `post` leaves the answer
            # unparsed: its models would be filled in unchecked, for a third of the client's time.
            async with asyncio.timeout(settings.timeout_s):
                completion = await self._client.post("/chat/completions", body=body, cast_to=object)
        except TimeoutError:
            raise _NoAnswer("timeout", f"no whole answer within {settings.timeout_s:g} s") from None
        except openai.APITimeoutError as error:  # by the aiohttp transport a refused connection is one too
            kind = "connection" if type(error.__cause__).__name__ == "ConnectTimeout" else "timeout"
            raise _NoAnswer(kind, self._clean(error.__cause__ or error)) from None
        except openai.APIStatusError as error:
            raise self._refused(error) from None
        except openai.APIConnectionError as error:
            raise _NoAnswer("connection", self._clean(error.__cause__ or error)) from None
        except (openai.APIError, ValueError) as error:
            raise _NoAnswer("malformed", self._clean(error)) from None
        return self._read(prompt, completion)

    def _refused(self, error: Any) -> Exception:
        """What an HTTP status means: ask again, give this row up, or stop altogether."""
        status, said = error.status_code, self._clean(error.message)
        if status in (401, 403):
            return TeacherError(f"{self.host} refuses the key in OPENAI_API_KEY (HTTP {status}); correct it")
        if status == 404:
            where = f"{self.host} has no model {self._model!r}, or no chat completions at this address"
            return TeacherError(f"{where}; correct --teacher or --base-url, which mostly ends in /v1 ({said})")
        if status == 429 and getattr(error, "code", None) == "insufficient_quota":
            return TeacherError(f"{self.host}: the account's quota is used up ({said}); answers so far are kept")
        wait_s = _retry_after(error.response.headers)
        if wait_s > _LONGEST_RETRY_AFTER_S:
            return TeacherError(f"{self.host} asks to wait {wait_s:.0f} s; run the same command again after that")
        again = status in (408, 409, 429) or status >= 500
        return _NoAnswer(f"HTTP {status}", said, again=again, retry_after_s=wait_s)

    def _read(self, prompt: str, completion: Any) -> Answer:
        """From the response's JSON, of which any part may be missing or of another type."""
        try:
            choice = completion["choices"][0] if completion["choices"] else {"message": {}}
            message, usage = choice["message"], completion.get("usage") or {}
            text, refusal = message.get("content") or "", message.get("refusal") or None
            answer = self._record(
                prompt,
                text=text,
                finish=str(choice.get("finish_reason") or "stop"),
                refusal=refusal,
                prompt_tokens=int(usage.get("prompt_tokens") or self._estimate.prompt_tokens(prompt)),
                completion_tokens=int(usage.get("completion_tokens") or len(text.encode()) // 4),
            )
        except (AttributeError, TypeError, ValueError, LookupError) as error:
            raise _NoAnswer("malformed", f"{type(error).__name__} in what it sent: {self._clean(error)}") from None
        return answer

    def _record(self, prompt: str, **parts: Any) -> Answer:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        size = len(prompt.encode()) if "failure" not in parts else 0  # what was not answered tells no tokens a byte
        return Answer(max_tokens=self._settings.max_tokens, prompt_bytes=size, host=self.host, time=now, **parts)

    def _clean(self, said: object) -> str:
        """An endpoint's words as one short line, without the key."""
        text = " ".join(str(said).split()) or type(said).__name__
        text = text.replace(self._key, "…") if self._key else text
        return text if len(text) <= 200 else text[:200] + " …"


def _retry_after(headers: Any) -> float:
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
