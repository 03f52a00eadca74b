"""What an endpoint returns instead of an answer, and what that means for the row, the request and the run.

An error says the same whether it is an HTTP status or stands inside a 200: `fault_in` finds it, `failure_of` decides.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace

from dhrd.errors import TeacherError

LONGEST_RETRY_AFTER_S = 600.0  # who asks for more is better asked another day
WEB_PAGE = "a web page, not an API answer"


class NoAnswer(Exception):
    """A request without an answer; the same one sent again may get one, in this run or the next.

    Args:
        kind: Its kind, for the count of failures.
        detail: What the endpoint said.
        retry_after_s: How long it asks to wait.
        may_be_billed: Whether a provider may have written an answer, and count it.
    """

    def __init__(self, kind: str, detail: str = "", *, retry_after_s: float = 0.0, may_be_billed: bool = False) -> None:
        super().__init__(f"{kind}: {detail}" if detail else kind)
        self.kind = kind
        self.retry_after_s = retry_after_s
        self.may_be_billed = may_be_billed


class RowRefused(Exception):
    """The endpoint is up and does not take this question.

    Args:
        fault: What it said.
        surely: Whether it names the row as the reason; if not, the reason may be common to all rows.
    """

    def __init__(self, fault: Fault, *, surely: bool) -> None:
        super().__init__(f"{fault.kind}: {fault.said}" if fault.said else fault.kind)
        self.kind = fault.kind
        self.surely = surely
        self.fault = fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """An error as an endpoint describes it.

    Args:
        status: HTTP's, or what the error itself says where it stands inside a 200; 0 where that is unknown.
        said: Its words.
        code: Its code and type, in lower case; "" where it gives none.
        param: The part of the request that it names.
        inside: Whether it came with HTTP 200.
    """

    status: int = 0
    said: str = ""
    code: str = ""
    param: str = ""
    inside: bool = False

    @property
    def kind(self) -> str:
        """Its kind, for the count of failures."""
        if not self.inside:
            return f"HTTP {self.status}"
        return f"error {self.status}" if self.status else "error"


# Codes and words of providers, and the HTTP status that others use for the same.
_QUOTA_WORDS = (
    r"insufficient[ _-]?(?:\w+[ _-])?(?:quota|balance|credits?|funds)|out of credits|arrearage|payment[ _]required"
    r"|balance (?:is |was )?(?:too low|insufficient|exhausted|used up|not enough)"
    r"|credits? (?:are |is )?(?:exhausted|used up)|billing[ _](?:hard[ _])?limit|spend(?:ing)?[ _]limit"
    r"|(?:\bno|not enough|without)(?: \w+)? (?:credits?|funds|balance)\b"
)
_QUOTA = rf"{_QUOTA_WORDS}|billing"
_FILTER = (
    r"content[ _-]?(?:filter|policy|management|moderation)|moderat(?:ion|ed|or)|responsibleai|data_?inspection|safety"
    r"|blocked_?prompt|(?:prompt|input|request)[^.]{0,40}\bflagged|sensitive_?(?:content|words)|prohibited_content"
)
_TOO_LONG = (
    r"context[ _-]?(?:length|size|window)|too[ _-](?:long|large|many tokens)|maximum context|string_above_max_length"
    r"|exceeds? (?:the )?(?:max|available|context|token)|payload_too_large"
)
_STATUS_OF_CODE = (
    (_QUOTA, 402),
    (r"rate[ _-]?limit|too[ _-]?many|throttl|overload|resource_exhausted|slow_?down|quota", 429),
    (r"api[ _-]?key|authenticat|unauthori[sz]ed|permission|forbidden", 401),
    (r"model[ _-]?not[ _-]?found|not[ _-]?found|no_such_model", 404),
    (rf"{_FILTER}|{_TOO_LONG}|invalid|unprocessable|bad_?request|unsupported", 400),
)
_UNSUPPORTED = re.compile(
    r"unsupported|not (?:be )?(?:support|permit|allow|recogni)|unknown|unrecogni[sz]ed|unexpected|extra (?:input|field)"
    r"|not (?:a )?valid|n't|no longer|instead|removed|illegal|deprecated|invalid[ _](?:param|arg|field|request_param)"
)
_VALUE = re.compile(
    r"too (?:large|big|high|long|small|low)|at most|at least|maximum|exceed|greater|less than|between|range"
)
# Why an answer ended that is not whole for the endpoint's own reasons: of DeepSeek, GLM and gateways too.
_FAILED = re.compile(r"error\b|fail|abort|cancel|interrupt|insufficient_system|unavailable|time_?out|timed_out")
_SETTINGS = ("temperature", "top_p", "seed", "reasoning_effort", "model")
_AGAIN = (408, 409, 425, 429)
_LIMITS = ("max_tokens", "max_completion_tokens")


def matches(pattern: str, *texts: str) -> bool:
    """Whether any of the texts holds the pattern, in any case."""
    return any(re.search(pattern, text, re.IGNORECASE) for text in texts)


def fault_in(body: object) -> Fault | None:
    """The error inside a body that came with HTTP 200; None where there is none."""
    body = body[0] if isinstance(body, list) and len(body) == 1 else body
    if not isinstance(body, dict):
        return None
    error = _error_of(body)
    if error is None:
        return None
    fault = read_fault(error)
    status = fault.status or next((status for pattern, status in _STATUS_OF_CODE if matches(pattern, fault.code)), 0)
    return replace(fault, status=status, inside=True)


def _error_of(body: dict[str, object]) -> object:
    """What describes an error, wherever providers put it."""
    for error in (body.get("error"), body.get("errors"), *_errors_of_choices(body.get("choices"))):
        if error and not (isinstance(error, dict) and not any(error.values())):
            return error[0] if isinstance(error, list) else error
    status = body.get("base_resp")
    if isinstance(status, dict) and status.get("status_code"):
        return {"code": status.get("status_code"), "message": status.get("status_msg")}
    if "error" in (body.get("object"), body.get("type")) or (
        not body.get("choices")
        and not body.get("usage")
        and (body.get("detail") or any(isinstance(body.get(key), str) for key in ("message", "msg")))
    ):
        return body
    return None


def _errors_of_choices(choices: object) -> list[object]:
    """The errors of the first choice: its own error, or a finish reason that indicates one."""
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, dict):
        return []
    message = choice.get("message")
    finishes = [str(choice.get(key)).lower() for key in ("finish_reason", "native_finish_reason")]
    failed = next((finish for finish in finishes if _FAILED.search(finish)), None)
    return [
        choice.get("error"),
        message.get("error") if isinstance(message, dict) else None,
        {"message": f"finish_reason {failed}"} if failed else None,
    ]


def read_fault(error: object, status: int = 0) -> Fault:
    """From the JSON that describes an error, of any shape.

    Args:
        error: The value of `error`, or the whole body.
        status: The HTTP status; 0: the error's own.
    """
    if isinstance(error, list) and len(error) == 1:  # Gemini's
        error = error[0]
    if not isinstance(error, dict):
        status = status or (int(str(error)) if _is_status(error) else 0)
        return Fault(status=status, said=error if isinstance(error, str) else json.dumps(error))
    if isinstance(error.get("error"), dict):
        return read_fault(error["error"], status)
    codes = [error.get(key) for key in ("code", "type", "status", "status_code", "http_code")]
    said = next((error[key] for key in ("message", "detail", "msg", "error") if error.get(key)), error)
    return Fault(
        status=status or next((int(str(code)) for code in codes if _is_status(code)), 0),
        said=said if isinstance(said, str) else json.dumps(said),
        code=" ".join(str(code) for code in codes if code and not _is_status(code)).lower(),
        param=str(error.get("param") or ""),
    )


def _is_status(code: object) -> bool:
    return not isinstance(code, bool) and bool(re.fullmatch(r"[45]\d\d", str(code)))


def is_page(text: str) -> bool:
    """Whether a text is HTML or XML."""
    return text.lstrip("\ufeff \t\r\n")[:1] == "<"


def refuses_limit(fault: Fault, name: str) -> bool:
    """Whether a request was refused for the name of its limit, rather than for the limit's value."""
    if fault.status not in (0, 400, 422, 500, 501):
        return False
    words = f"{fault.code} {fault.said}".lower()
    named = fault.param == name or re.search(rf"(?<!\w){name}(?!\w)", words)
    return bool(named and _UNSUPPORTED.search(words) and not _VALUE.search(words))


def failure_of(fault: Fault, *, host: str, model: str, wait_s: float = 0.0) -> Exception:
    """What to do about an error.

    Returns:
        A `TeacherError`: no request can succeed; a `RowRefused`: this row's cannot; a `NoAnswer`: it may, sent again.
    """
    status, said, words = fault.status, fault.said, (fault.code, fault.said)
    by_filter = words if status < 500 else (fault.code,)  # a server that fails may speak of its own safety system
    if status not in (401, 407, 429) and matches(_FILTER, *by_filter):
        return RowRefused(fault, surely=True)
    if any(refuses_limit(fault, name) for name in _LIMITS):  # `endpoint` sends the other name
        return RowRefused(fault, surely=False)
    if status == 402 or matches(_QUOTA, fault.code) or (status <= 429 and matches(_QUOTA_WORDS, said)):
        return TeacherError(f"{host}: the account's quota is used up ({said}); answers so far are kept")
    if status in (401, 403, 407):
        return TeacherError(f"{host} rejects the key in OPENAI_API_KEY ({fault.kind}); correct it")
    if status in (404, 405, 410):
        where = f"{host} has no model {model!r}, or no chat completions at this address"
        return TeacherError(
            f"{where}; correct `teacher.name` or `teacher.base_url`, which usually ends in /v1 ({said})"
        )
    if wait_s > LONGEST_RETRY_AFTER_S:
        return TeacherError(f"{host} asks to wait {wait_s:.0f} s; run the same command again after that")
    if status in _AGAIN or (status >= 500 and not matches(_TOO_LONG, *words)) or status < 400:
        return NoAnswer(fault.kind, said, retry_after_s=wait_s, may_be_billed=status in (504, 524))
    name = fault.param.partition(".")[0]
    if name in _SETTINGS or (name in _LIMITS and not matches("context|prompt|input|message", said)):
        return TeacherError(f"{host} rejects the setting {name} ({said}); correct or leave out teacher.{name}")
    return RowRefused(fault, surely=status == 413 or matches(_TOO_LONG, *words))
