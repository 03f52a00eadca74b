"""A server's limits, and the refusal of requests that exceed them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dhrd._text import clipped, escaped
from dhrd.config.section import check_count
from dhrd.errors import ConfigError

API_KEY = "DHRD_API_KEY"
"""The environment variable with the key that requests must carry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """A server's limits; requests beyond them are refused with a hint on what to do.

    Args:
        max_rows: Maximum rows per request.
        max_bytes: Maximum size of a request body in bytes.
        max_requests: Maximum number of concurrent requests.
        max_queue_tokens: Maximum tokens of all rows queued for the model.
        deadline_s: Seconds after which a request times out.
        max_explained_rows: Maximum rows per explanation request; 0: no explanations.
        max_new_tokens: Maximum tokens of an explanation.

    Raises:
        ConfigError: A limit is invalid.
    """

    max_rows: int = 128
    max_bytes: int = 2 << 20
    max_requests: int = 256
    max_queue_tokens: int = 65_536
    deadline_s: float = 60.0
    max_explained_rows: int = 4
    max_new_tokens: int = 200

    def __post_init__(self) -> None:
        for name in ("max_rows", "max_bytes", "max_requests", "max_queue_tokens", "max_new_tokens"):
            check_count(name, getattr(self, name))
        check_count("max_explained_rows", self.max_explained_rows, least=0)
        if not 0 < self.deadline_s < float("inf"):
            raise ConfigError(f"`deadline_s`: give a number of seconds above 0, got {self.deadline_s}")


class Refusal(Exception):
    """A refused request, as reported to the client.

    Args:
        status: The HTTP status.
        kind: A machine-readable code.
        message: What was wrong and what to do.
        param: The part of the body concerned.
        retry_after_s: Seconds after which to try again.
    """

    def __init__(
        self, status: int, kind: str, message: str, *, param: str | None = None, retry_after_s: int | None = None
    ) -> None:
        super().__init__(kind)
        self.status, self.kind, self.param, self.retry_after_s = status, kind, param, retry_after_s
        self.message = clipped(escaped(message))


def check_number(rows: Sequence[object], most: int, param: str) -> None:
    """Refuse more rows than a limit.

    Raises:
        Refusal: There are more.
    """
    if len(rows) > most:
        raise Refusal(413, "too_many_rows", f"{len(rows)} rows; send {most} or fewer at once", param=param)
