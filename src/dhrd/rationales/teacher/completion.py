"""From a response's JSON, of which any part may be missing or of another type, to what was said and what it cost."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

from dhrd.rationales.teacher.content import Content, read_content, unreadable
from dhrd.rationales.teacher.failures import WEB_PAGE, Fault, NoAnswer, fault_in, is_page

_MOST_TOKENS = 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """A response that holds an answer.

    Args:
        content: What it says.
        finish: Why it ended, in the endpoint's word.
        prompt_tokens: Tokens read; None if not given.
        completion_tokens: Tokens written, including thinking; None if not given.
        size: Bytes written, thinking included as far as it is shown.
    """

    content: Content
    finish: str = "stop"
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    size: int = 0


def parse(body: object) -> object:
    """The JSON of a response, whatever type it says it has.

    Args:
        body: Parsed, or text where the response did not call itself JSON.

    Raises:
        NoAnswer: It is not valid JSON.
    """
    if not isinstance(body, str):
        return body
    if is_page(body):
        raise NoAnswer("web page", WEB_PAGE)
    try:
        return json.loads(body.lstrip("\ufeff"))
    except (ValueError, RecursionError):
        raise NoAnswer("malformed", "not JSON", may_be_billed=True) from None


def read_completion(body: object) -> Completion | Fault:
    """What a response's JSON holds: an answer, or an error inside a 200.

    Raises:
        NoAnswer: It has neither.
    """
    if (fault := fault_in(body)) is not None:
        return fault
    if not isinstance(body, dict) or not ("choices" in body or body.get("usage")):
        raise NoAnswer("malformed", f"no choices in what it sent, a JSON {type(body).__name__}", may_be_billed=True)
    message, finish = _message(body.get("choices"))
    content, thoughts = message if isinstance(message, Content) else _say(message), ""
    if isinstance(message, dict):
        thoughts = "".join(str(message.get(key) or "") for key in ("reasoning_content", "reasoning"))
    prompt_tokens, completion_tokens = _usage(body.get("usage"))
    return Completion(
        content=content,
        finish=finish,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        size=len((content.text + thoughts).encode(errors="replace")),
    )


def _message(choices: object) -> tuple[object, str]:
    """The first choice's message, and why it ended."""
    if not choices:
        return None, "stop"
    if not isinstance(choices, list):
        return unreadable(choices, "choices"), "stop"
    choice = choices[0]
    if not isinstance(choice, dict):
        return unreadable(choice, "choices[0]"), "stop"
    message = choice.get("message", choice.get("delta", choice.get("text")))
    return message, str(choice.get("finish_reason") or "stop")


def _say(message: object) -> Content:
    """A message's words and refusal."""
    if message is None or isinstance(message, str):
        return Content(message or "")
    if not isinstance(message, dict):
        return unreadable(message, "message")
    content, refusal = read_content(message.get("content")), message.get("refusal")
    if not refusal:
        return content
    return Content(content.text, refusal if isinstance(refusal, str) else json.dumps(refusal), content.problem)


def _usage(usage: object) -> tuple[int | None, int | None]:
    """Tokens of the prompt and of the answer. Some providers count thinking in the total alone, or beside it."""
    if not isinstance(usage, dict):
        return None, None
    prompt = _count(usage, "prompt_tokens", "input_tokens")
    written = _count(usage, "completion_tokens", "output_tokens")
    total, details = _count(usage, "total_tokens"), usage.get("completion_tokens_details")
    thought = (_count(details, "reasoning_tokens") if isinstance(details, dict) else None) or 0
    if written is not None and thought > written:  # else it is part of it
        written += thought
    if total is not None and prompt is not None:
        written = max(written or 0, total - prompt)
    elif total is not None and written is not None:
        prompt = max(0, total - written)
    return prompt or None, written


def _count(usage: dict[str, object], *names: str) -> int | None:
    """A number of tokens; None where it is none, or below 0."""
    for name in names:
        value = usage.get(name)
        try:
            number = float(value) if not isinstance(value, bool) else math.nan  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            continue
        if 0 <= number <= _MOST_TOKENS:
            return int(number)
    return None
