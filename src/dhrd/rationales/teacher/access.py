"""The key and the address of an endpoint, checked before the first request."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

from dhrd.config import TeacherSettings
from dhrd.config.address import Address, parse_address
from dhrd.errors import ConfigError

_OPENAI = "https://api.openai.com/v1"
_RUN = 12  # letters and digits in a row that are also in a text make a quotation of it
_QUOTED = re.compile(r"""(["'“‘`«])(.{3,}?)(["'”’`»])""")
_ESCAPES = re.compile(r"\\u[0-9a-fA-F]{4}|\\[nrtbf\"'/\\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How an endpoint is reached.

    Args:
        address: Where it is.
        key: Its key; "" where it needs none.
        organization: OpenAI organization from the environment.
        project: OpenAI project from the environment.
        headers: Further headers.
    """

    address: Address
    key: str = field(default="", repr=False)
    organization: str | None = None
    project: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def host(self) -> str:
        """The name of the machine, as shown in messages and the manifest."""
        return urlsplit(self.address.url).hostname or ""

    @property
    def is_openai(self) -> bool:
        """Whether it is OpenAI's own."""
        return self.host == "openai.com" or self.host.endswith(".openai.com")

    @property
    def secrets(self) -> list[str]:
        """Strings that no message may contain, longest first."""
        values = [self.key, *self.headers.values(), *(value for _, value in self.address.query)]
        own = {value for value in values if len(value) >= 4}
        own |= {value.removeprefix("Bearer ") for value in own}
        return sorted(own | {quote(value, safe="") for value in own}, key=len, reverse=True)

    def hushed(self, said: str, sent: str) -> str:
        """What an endpoint said on one line, without secrets and without what was sent to it."""
        for secret in self.secrets:
            said = said.replace(secret, "…")
        return " ".join(without_quotations(" ".join(said.split()), sent).split())


def access_of(settings: TeacherSettings) -> Access:
    """From the settings and the environment.

    Raises:
        ConfigError: There is neither a key nor the address of an endpoint that may need none, or one cannot be sent.
    """
    key = _sendable("OPENAI_API_KEY")
    base_url = settings.base_url or os.environ.get("OPENAI_BASE_URL", "").strip()
    if not key and not base_url:
        raise ConfigError(
            "OPENAI_API_KEY is not set: export it, or give `teacher.base_url` for an endpoint without keys"
        )
    origin = "teacher.base_url" if settings.base_url else "OPENAI_BASE_URL"
    try:
        address = parse_address(base_url or _OPENAI)
    except ValueError as error:
        raise ConfigError(f"{origin} {error}") from None
    if address.has_user:
        raise ConfigError(f"{origin} contains a user or password; remove them and put the key into OPENAI_API_KEY")
    return Access(
        address=address,
        key=key,
        organization=_sendable("OPENAI_ORG_ID") or None,
        project=_sendable("OPENAI_PROJECT_ID") or None,
        headers=settings.extra_headers,
    )


def _sendable(name: str) -> str:
    """An environment variable without surrounding space; "" if it is unset."""
    value = os.environ.get(name, "").strip().strip("\ufeff\u200b\xa0").strip()
    if bad := re.search(r"[^\x20-\x7e]", value):
        raise ConfigError(
            f"{name}: its character {bad.start() + 1} of {len(value)} is a line end or not ASCII, and cannot be sent; "
            "export it again"
        )
    return value


def without_quotations(said: str, sent: str) -> str:
    """A text without what it repeats of another: an endpoint's error must not show a private row.

    Letters and digits alone are compared, in any case, so escapes, markup and line ends hide nothing.
    """
    said = _ESCAPES.sub(_unescaped, said)[:5000]
    where = [index for index, char in enumerate(said) if char.isalnum()]
    told, own = _letters(said), _letters(_ESCAPES.sub(_unescaped, sent))
    runs = {own[i : i + _RUN] for i in range(len(own) - _RUN + 1)} or {own}
    hidden = [False] * len(said)
    for begin in range(len(told)):
        if told[begin : begin + _RUN] in runs:
            last = where[min(begin + _RUN, len(told)) - 1]
            hidden[where[begin] : last + 1] = [True] * (last + 1 - where[begin])
    for quoted in _QUOTED.finditer(said):
        if (words := _letters(quoted[2])) and words in own and quoted[2] not in ("max_tokens", "max_completion_tokens"):
            hidden[quoted.start(2) : quoted.end(2)] = [True] * len(quoted[2])
    shown = "".join("\0" if hide else char for char, hide in zip(said, hidden, strict=True))
    return re.sub("\0+", "…", shown)


def _letters(text: str) -> str:
    """Letters and digits, each folded to one character so that places stay the same."""
    return "".join(char.lower()[:1] for char in text if char.isalnum())


def _unescaped(match: re.Match[str]) -> str:
    escape = match[0]
    return chr(int(escape[2:], 16)) if escape[1] == "u" else {"n": " ", "r": " ", "t": " "}.get(escape[1], escape[1])
