"""The store: what was committed stays, whatever happens."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from dhrd.errors import DataError, SaveError
from dhrd.rationales.teacher.answers import Answer
from dhrd.rationales.teacher.store import Store, Totals
from helpers.runs import environment


def test_answers_come_back_in_order_as_they_were(tmp_path: Path) -> None:
    first = Answer(text='ä\n"quoted" \U0001f600', finish="length", prompt_tokens=3, completion_tokens=4, host="h")
    second = Answer(failure="HTTP 500", time="2030-01-01T00:00:00+00:00")
    with Store(tmp_path / "s.sqlite") as store:
        store.append([("a", first), ("b", second)])
        store.append([("a", second)])
    with Store(tmp_path / "s.sqlite") as store:
        assert store.answers("a") == [first, second]
        assert store.answers("a", after=1) == [second]
        assert store.answers("c") == []
        assert store.last_number() == 3
        assert store.totals() == Totals(3, 2, 0, 3, 4)
        assert store.hosts() == ["h"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s.sqlite"]


def test_nothing_is_changed_or_removed(tmp_path: Path) -> None:
    with Store(tmp_path / "s.sqlite") as store:
        store.append([("a", Answer(text="x"))])
    database = sqlite3.connect(tmp_path / "s.sqlite")
    for statement in ("DELETE FROM answer", "UPDATE answer SET key = 'b'"):
        with pytest.raises(sqlite3.IntegrityError, match="never"):
            database.execute(statement)


def test_two_processes_cannot_write_one_store(tmp_path: Path) -> None:
    with Store(tmp_path / "s.sqlite") as store:
        store.append([("a", Answer())])
        with pytest.raises(DataError, match="another process is writing these rationales"):
            Store(tmp_path / "s.sqlite")
    Store(tmp_path / "s.sqlite").__exit__(None, None, None)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    path.write_text("id,label\n" * 200, encoding="utf-8")
    with pytest.raises(DataError, match="not a store of answers, or damaged"):
        Store(path)
    with pytest.raises(SaveError, match="unable to open database file"):
        Store(tmp_path / "nowhere" / "s.sqlite")


def test_ids_that_come_twice_are_refused(tmp_path: Path) -> None:
    with Store(Path(":memory:")) as store:
        store.check_new("a")
        store.check_new("b")
        with pytest.raises(DataError, match="the id 'a' occurs twice"):
            store.check_new("a")


_WRITE = """
import sys
from pathlib import Path
from dhrd.rationales.teacher.answers import Answer
from dhrd.rationales.teacher.store import Store
store = Store(Path(sys.argv[1]))
for number in range(10**6):
    store.append([(str(number), Answer(text="x" * 1000))])
    print(number, flush=True)
"""


def test_what_was_committed_survives_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    command = [sys.executable, "-c", _WRITE, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(200)]
        os.kill(process.pid, signal.SIGKILL)
        said += process.stdout.readlines()
    numbers = [int(line) for line in said if line.endswith("\n")]
    with Store(path) as store:
        assert len(numbers) >= 200
        assert all(store.answers(str(number)) for number in numbers)
        assert store.totals().num_records - len(numbers) in (0, 1)  # committed, and killed before it said so
