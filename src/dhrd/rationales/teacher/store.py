"""The store of a teacher's answers: append-only, content-addressed, on disk before an answer counts.

It is one SQLite file beside the output, `F.answers.sqlite`, with one table, `answer(number, key, answer)`: the key is
the content address of a question (`prompt.key_of`), the answer is JSON (`answers.Answer`). Rows are never changed nor
removed; triggers see to it.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from dhrd._text import shown
from dhrd.errors import DataError, SaveError
from dhrd.rationales.teacher.answers import Answer

_SCHEMA = """
CREATE TABLE IF NOT EXISTS answer (number INTEGER PRIMARY KEY, key TEXT NOT NULL, answer TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS answer_key ON answer (key);
CREATE TRIGGER IF NOT EXISTS answers_stay BEFORE DELETE ON answer
    BEGIN SELECT raise(ABORT, 'answers are never removed'); END;
CREATE TRIGGER IF NOT EXISTS answers_do_not_change BEFORE UPDATE ON answer
    BEGIN SELECT raise(ABORT, 'answers never change'); END;
CREATE TEMP TABLE checked_row (id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TEMP TABLE asked (key TEXT PRIMARY KEY) WITHOUT ROWID;
"""
_TOTALS = """
SELECT count(*), count(json_extract(answer, '$.failure')),
       coalesce(sum(max(0, json_extract(answer, '$.prompt_bytes'))), 0),
       coalesce(sum(max(0, json_extract(answer, '$.prompt_tokens'))), 0),
       coalesce(sum(max(0, json_extract(answer, '$.completion_tokens'))), 0)
FROM answer WHERE json_valid(answer)
"""


@dataclass(frozen=True, slots=True)
class Totals:
    """What a store holds: records, those of them without an answer, and sums over the rest."""

    num_records: int
    num_failures: int
    prompt_bytes: int
    prompt_tokens: int
    completion_tokens: int

    @property
    def num_answers(self) -> int:
        """Records with an answer."""
        return self.num_records - self.num_failures


class Store:
    """Answers on disk. Methods may be called from several threads.

    Args:
        path: The file; made where there is none.

    Raises:
        DataError: Another process has it open, or it is not such a store.
        SaveError: It cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        with self._errors():
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=0)
            self._db.text_factory = lambda text: text.decode(errors="replace")
            # One process at a time, so write-ahead needs no shared memory and works on network disks too.
            self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")  # a commit returns when it is on the disk
            self._db.executescript(_SCHEMA)

    def append(self, answers: Iterable[tuple[str, Answer]]) -> None:
        """Write answers, given with their questions' keys, in one transaction, and wait for the disk.

        Raises:
            SaveError: The disk is full; none of them was written, all before are.
        """
        records = [(key, _whole(json.dumps(asdict(answer), ensure_ascii=False))) for key, answer in answers]
        with self._lock, self._errors():
            self._db.execute("BEGIN")
            try:
                self._db.executemany("INSERT INTO answer (key, answer) VALUES (?, ?)", records)
                self._db.execute("COMMIT")
            except sqlite3.Error:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def answers(self, key: str, *, after: int = 0) -> list[Answer]:
        """The answers to a question, in the order in which they came.

        Args:
            key: Its content address.
            after: Only those whose number is greater.
        """
        query = "SELECT answer FROM answer WHERE key = ? AND number > ? ORDER BY number"
        with self._lock, self._errors():
            return [_answer(text) for (text,) in self._db.execute(query, (key, after))]

    def last_number(self) -> int:
        """The number of the newest answer; 0 where there is none."""
        with self._lock, self._errors():
            return int(self._db.execute("SELECT coalesce(max(number), 0) FROM answer").fetchone()[0])

    def totals(self) -> Totals:
        """Sums over all answers."""
        with self._lock, self._errors():
            return Totals(*map(int, self._db.execute(_TOTALS).fetchone()))

    def hosts(self) -> list[str]:
        """Who answered, sorted."""
        query = (
            "SELECT DISTINCT json_extract(answer, '$.host') AS host FROM answer WHERE json_valid(answer) ORDER BY host"
        )
        with self._lock, self._errors():
            return [str(host) for (host,) in self._db.execute(query) if host]

    def dates(self) -> tuple[str, str]:
        """When the first and the newest answer came; "" where there is none."""
        query = (
            "SELECT min(json_extract(answer, '$.time')), max(json_extract(answer, '$.time')) FROM answer "
            "WHERE json_valid(answer)"
        )
        with self._lock, self._errors():
            first, last = self._db.execute(query).fetchone()
        return first or "", last or ""

    def check_new(self, row_id: str) -> None:
        """Refuse an id that was checked before. They are remembered on disk, so memory stays flat.

        Raises:
            DataError: Two rows have this id.
        """
        try:
            with self._lock:
                self._db.execute("INSERT INTO checked_row VALUES (?)", (row_id,))
        except sqlite3.IntegrityError:
            raise DataError(
                f"the id {shown(row_id)} occurs twice in the rows; rationales are joined by id: give each its own"
            ) from None

    def mark_asked(self, key: str) -> None:
        """Remember that a question is asked, for `num_unused`."""
        with self._lock, self._errors():
            self._db.execute("INSERT OR IGNORE INTO asked VALUES (?)", (key,))

    def num_unused(self) -> int:
        """Questions that have answers here and were not marked."""
        query = "SELECT count(DISTINCT key) FROM answer WHERE key NOT IN (SELECT key FROM asked)"
        with self._lock, self._errors():
            return int(self._db.execute(query).fetchone()[0])

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._db.close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise DataError(
                    f"{self.path}: another process is writing these rationales; wait for it, or give another `output`"
                ) from error
            raise SaveError(
                f"{self.path}: {error}; what was saved before is intact: fix the cause and run again"
            ) from error
        except sqlite3.DatabaseError as error:
            raise DataError(
                f"{self.path}: not a store of answers, or damaged ({error}); move it away, or give another `output`"
            ) from error


def _whole(text: str) -> str:
    """The text with U+FFFD for half a character, which UTF-8 cannot hold: one answer must not lose those beside it."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _answer(text: str) -> Answer:
    """A record, also where it is not what this version writes."""
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        record = text
    return Answer.of_record(record)
