"""Fixing a file of rationales according to its audit."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from dhrd._files import writing
from dhrd.errors import ConfigError
from dhrd.rationales.audit.audit import Audit
from dhrd.rationales.audit.flags import KINDS, Audited
from dhrd.rationales.audit.leak import find_leak, without_verdict

Mode = Literal["drop", "strip"]

_OF_THE_FILE = {"beginning"}  # a finding about the file: dropping by it would leave next to nothing
_NOT_A_ROW = {"malformed", "duplicate_id", "other_text"}
"""What no file of rationales can hold: training refuses it whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What was done to one line.

    Args:
        where: `file:line`.
        id: The row's id.
        action: "dropped"; "stripped"; "left": it names its label somewhere other than at the end.
        why: The kinds of its flags.
        removed: What was cut off.
    """

    where: str
    id: str
    action: Literal["dropped", "stripped", "left"]
    why: list[str]
    removed: str = ""

    def line(self) -> str:
        """For a person."""
        cut = f": “{self.removed}”" if self.removed else ""
        return f"{self.action} {self.id or self.where} ({', '.join(self.why)}){cut}"


def fix(audit: Audit, mode: Mode, kinds: Collection[str] = ()) -> tuple[list[dict[str, object]], list[Change]]:
    """The lines of a cleaned file, in order, and every change.

    `drop` leaves out the lines with a flag, other than for a beginning that nearly all share, unless that is asked
    for. `strip` cuts verdicts off the ends of those with a `label_leak`, and leaves out what has nothing before its
    verdict. Both leave out what training could not read.

    Args:
        audit: The file's audit.
        mode: "drop" or "strip".
        kinds: With `drop`: only flags of these kinds; empty: all kinds.

    Raises:
        ConfigError: A kind is unknown.
    """
    check_kinds(kinds)
    kept, changes = [], []
    for line in audit.lines:
        text, change = _drop(line, kinds) if mode == "drop" else _strip(line, audit)
        if text:
            kept.append({**line.columns, line.column: text})
        if change is not None:
            changes.append(change)
    return kept, changes


def check_kinds(kinds: Collection[str]) -> None:
    """Refuse unknown kinds of flags.

    Raises:
        ConfigError: A kind is unknown; the message names the first.
    """
    if unknown := sorted(set(kinds) - set(KINDS)):
        raise ConfigError(f"`kinds` {unknown[0]}: unknown; kinds are {', '.join(KINDS)}")


def changes_beside(path: Path) -> Path:
    """Where the changes of a cleaned file are listed."""
    return path.with_name(f"{path.stem}.changes.jsonl")


def _drop(line: Audited, kinds: Collection[str]) -> tuple[str, Change | None]:
    wanted = {*kinds, *_NOT_A_ROW} if kinds else set(KINDS) - _OF_THE_FILE
    why = [flag.kind for flag in line.flags if flag.kind in wanted]
    if not why:
        return line.text, None
    return "", Change(where=line.where, id=line.id, action="dropped", why=why, removed=line.text)


def _strip(line: Audited, audit: Audit) -> tuple[str, Change | None]:
    why = [flag.kind for flag in line.flags]
    if _NOT_A_ROW & set(why):
        return _drop(line, _NOT_A_ROW)
    if "label_leak" not in why:
        return line.text, None
    text = without_verdict(line, audit.patterns)
    if not text:
        return "", Change(where=line.where, id=line.id, action="dropped", why=["label_leak"], removed=line.text)
    still = find_leak(replace(line, text=text), audit.patterns) is not None
    removed = line.text[len(text) :].strip()
    action: Literal["stripped", "left"] = "stripped" if removed else "left"
    why = ["label_leak remains" if still else "label_leak"]
    return text, Change(where=line.where, id=line.id, action=action, why=why, removed=removed)


def write_fixed(path: Path, kept: list[dict[str, object]], changes: list[Change]) -> Path:
    """Write the cleaned file and, beside it, every change; return the path of the latter.

    Raises:
        SaveError: They could not be written.
    """
    beside = changes_beside(path)
    for target, rows in ((path, kept), (beside, [asdict(change) for change in changes])):
        with writing(target) as file:
            for row in rows:
                file.row(row)
    return beside
