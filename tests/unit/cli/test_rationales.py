"""`dhrd rationales generate`, `audit` and `convert`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dhrd.rationales.audit.audit import audit_rationales
from dhrd.rationales.audit.flags import KINDS
from helpers.audit import ROWS, SOUND, faulty, lines, mixed
from helpers.endpoint import FaultyEndpoint, serving
from helpers.rows import write_jsonl
from helpers.runs import read_jsonl, run_here
from helpers.teacher import write_cases


class TestConvert:
    """`dhrd rationales convert`."""

    RECORDS = ({"id": "a", "why": "So."}, {"id": "b", "why": ""}, {"id": "c", "why": "Yes."}, {"id": "c", "why": "No."})

    def run(self, capsys: Any, source: Path, output: Path, *options: str) -> Any:
        return run_here(capsys, "rationales", "convert", source, "--output", output, *options)

    def test_what_was_done_is_said(self, capsys: Any, tmp_path: Path) -> None:
        source = write_jsonl(tmp_path / "s.jsonl", self.RECORDS)
        ended = self.run(capsys, source, tmp_path / "o.jsonl", "--rationale", "why", "--teacher", "Ann")
        assert ended.code == 0
        assert read_jsonl(tmp_path / "o.jsonl") == [{"id": "a", "rationale": "So.", "teacher": "Ann"}]
        assert ended.out.splitlines() == [
            f"1 rationales from 4 records: {tmp_path / 'o.jsonl'}",
            "1 rows have no rationale there",
            "1 ids have two different rationales and were skipped: c",
        ]

    @pytest.mark.parametrize(
        ("source", "output", "options", "named"),
        [
            ("s.jsonl", "s.jsonl", [], "--output"),
            ("s.jsonl", "o.csv", [], "--output"),
            ("s.jsonl", "o.jsonl", ["--shape", "nonsense"], "--shape nonsense: unknown"),
            ("s.jsonl", "o.jsonl", ["--id", "{{ id"], "--id"),
            ("s.jsonl", "o.jsonl", ["--rationale", "because"], "s.jsonl:1: --rationale because"),
            ("missing.jsonl", "o.jsonl", [], "missing.jsonl: no such file"),
            ("s.txt", "o.jsonl", [], "s.txt: unknown file type"),
            ("missing.jsonl", "old.jsonl", [], "missing.jsonl: no such file"),
        ],
    )
    def test_what_is_refused(
        self, capsys: Any, tmp_path: Path, source: str, output: str, options: list[str], named: str
    ) -> None:
        write_jsonl(tmp_path / "s.jsonl", self.RECORDS[:1])
        write_jsonl(tmp_path / "old.jsonl", self.RECORDS)
        before = {path: path.read_bytes() for path in tmp_path.iterdir()}
        ended = self.run(capsys, tmp_path / source, tmp_path / output, *options)
        assert ended.code == 2
        assert len(ended.error_lines) == 1 and named in ended.error_lines[0]
        assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before

    @pytest.mark.parametrize(
        ("header", "more"),
        [
            ("Ticket No.;Why so?", ()),
            ("sep=;\nTicket No.;Why so?", ()),
            ("Ticket No.;Why so?;if any, more", ("--set", "data.csv_delimiter=;")),
        ],
    )
    @pytest.mark.parametrize("mapped", [False, True])
    def test_an_export_of_a_spreadsheet(
        self, capsys: Any, tmp_path: Path, header: str, more: tuple[str, ...], mapped: bool
    ) -> None:
        empty = ";" * header.count("any")
        (tmp_path / "s.csv").write_text(
            f"\ufeff{header}\n1;It rained, so it is wet.{empty}\n2;{empty}\n", encoding="utf-8"
        )
        names = {"--id": "Ticket No.", "--rationale": "Why so?"}
        if mapped:
            parts = [p for flag, name in names.items() for p in ("--set", f"data.columns.{flag[2:]}={name}")]
        else:
            parts = [p for pair in names.items() for p in pair]
        ended = self.run(capsys, tmp_path / "s.csv", tmp_path / "o.jsonl", *parts, *more)
        assert ended.code == 0, ended.err
        assert read_jsonl(tmp_path / "o.jsonl") == [{"id": "1", "rationale": "It rained, so it is wet."}]

    def test_a_delimiter_that_must_be_given_can_be(self, capsys: Any, tmp_path: Path) -> None:
        (tmp_path / "s.csv").write_text("id;rationale;if any, more\n1;So.;\n", encoding="utf-8")
        ended = self.run(capsys, tmp_path / "s.csv", tmp_path / "o.jsonl")
        assert ended.code == 2
        assert "or give --set data.csv_delimiter=';' if that divides the columns" in ended.error_lines[0]

    def test_half_a_character(self, capsys: Any, tmp_path: Path) -> None:
        (tmp_path / "s.jsonl").write_text('{"id": "a", "all": ["So \\ud83d."]}\n')
        ended = self.run(capsys, tmp_path / "s.jsonl", tmp_path / "o.jsonl", "--rationale", "all.0")
        assert ended.code == 2
        assert "s.jsonl:1" in ended.error_lines[0]


class TestAudit:
    """`dhrd rationales audit`."""

    @pytest.fixture
    def data(self, tmp_path: Path) -> Path:
        return write_jsonl(tmp_path / "rows.jsonl", ROWS)

    def test_files_are_written_and_flags_are_no_failure(self, capsys: Any, tmp_path: Path, data: Path) -> None:
        source = write_jsonl(tmp_path / "rationales.jsonl", mixed())
        page, values = tmp_path / "page.html", tmp_path / "audit.json"
        ended = run_here(capsys, "rationales", "audit", source, "--data", data, "--json", values, "--html", page)
        assert (ended.code, ended.err) == (0, "")
        value = json.loads(values.read_text(encoding="utf-8"))
        assert (value["rationales"], value["data"]) == (str(source), str(data))
        assert value["flags"]["malformed"] == 2
        assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
        assert all(kind in ended.out for kind in set(KINDS) - {"worthless"})
        assert "rows: 21 of 30 have a rationale, 9 have none" in ended.out

    def test_settings_come_from_the_config(self, capsys: Any, tmp_path: Path, data: Path) -> None:
        source = write_jsonl(tmp_path / "rationales.jsonl", lines(SOUND))
        ended = run_here(capsys, "rationales", "audit", source, "--set", f"data.train={data}")
        assert ended.code == 0
        assert "30 of 30 have a rationale" in ended.out

    @pytest.mark.parametrize(
        ("source", "options", "named"),
        [
            ("empty.jsonl", ["--data", "rows.jsonl"], "empty.jsonl: no line has an id and a rationale"),
            ("other.jsonl", ["--data", "rows.jsonl"], "other.jsonl: no line has an id and a rationale"),
            ("missing.jsonl", ["--data", "rows.jsonl"], "missing.jsonl: no such file"),
            ("rationales.jsonl", ["--data", "missing.jsonl"], "missing.jsonl: no such file"),
            ("rationales.jsonl", ["--data", "superglue:nonsense"], "superglue:nonsense: no such task"),
            ("rationales.jsonl", [], "no rows given"),
            ("rationales.jsonl", ["--data", "rows.jsonl", "--forbid", "("], "--forbid: not a regular expression"),
        ],
    )
    def test_what_is_refused(
        self, capsys: Any, tmp_path: Path, data: Path, source: str, options: list[str], named: str, monkeypatch: Any
    ) -> None:
        monkeypatch.chdir(tmp_path)
        write_jsonl(tmp_path / "rationales.jsonl", lines(SOUND))
        write_jsonl(tmp_path / "empty.jsonl", [])
        write_jsonl(tmp_path / "other.jsonl", [{"id": "r1", "explanation": "So."}])
        ended = run_here(capsys, "rationales", "audit", source, *options, "--html", "page.html")
        assert ended.code == 2
        assert len(ended.error_lines) == 1 and named in ended.error_lines[0]
        assert not (tmp_path / "page.html").exists()

    def test_brackets_in_a_rationale_are_text(self, capsys: Any, tmp_path: Path, data: Path) -> None:
        written = lines(SOUND)
        written[0]["rationale"] += " It is [i]so[/b]"
        source = write_jsonl(tmp_path / "rationales.jsonl", written)
        ended = run_here(capsys, "rationales", "audit", source, "--data", data)
        assert ended.code == 0
        assert "[/b]" in ended.out

    @pytest.mark.parametrize("flag", ["--json", "--html"])
    def test_the_audited_file_is_never_overwritten(self, capsys: Any, tmp_path: Path, data: Path, flag: str) -> None:
        source = write_jsonl(tmp_path / "rationales.jsonl", lines(SOUND))
        before = source.read_bytes()
        ended = run_here(capsys, "rationales", "audit", source, "--data", data, flag, source)
        assert (ended.code, source.read_bytes()) == (2, before)


class TestFix:
    """`dhrd rationales audit --fix`."""

    @pytest.fixture
    def arguments(self, tmp_path: Path) -> list[Any]:
        data = write_jsonl(tmp_path / "rows.jsonl", ROWS)
        source = write_jsonl(tmp_path / "rationales.jsonl", faulty())
        return ["rationales", "audit", source, "--data", data]

    @pytest.mark.parametrize("options", [["drop"], ["strip"], ["drop", "--kind", "label_leak", "--kind", "length"]])
    def test_a_cleaned_file_has_no_such_flag_any_more(
        self, capsys: Any, arguments: list[Any], tmp_path: Path, options: list[str]
    ) -> None:
        source = (tmp_path / "rationales.jsonl").read_bytes()
        ended = run_here(capsys, *arguments, "--fix", *options)
        assert ended.code == 0, ended.err
        assert (tmp_path / "rationales.jsonl").read_bytes() == source
        clean = tmp_path / "rationales.clean.jsonl"
        changes = read_jsonl(tmp_path / "rationales.clean.changes.jsonl")
        assert len(read_jsonl(clean)) == len(faulty()) - sum(change["action"] == "dropped" for change in changes)
        assert all(set(change) == {"where", "id", "action", "why", "removed"} for change in changes)
        assert str(clean) in ended.out.replace("\n", "")
        counts = audit_rationales(clean, ROWS).counts
        assert counts["malformed"] == counts["duplicate_id"] == 0
        if options == ["drop"]:
            assert set(counts.values()) == {0}
        elif options == ["strip"]:
            left = [change["id"] for change in changes if "label_leak remains" in change["why"]]
            assert counts["label_leak"] == len(left) == 1
        else:
            assert counts["label_leak"] == counts["length"] == 0
            assert counts["truncated"] == 1

    def test_a_given_output(self, capsys: Any, arguments: list[Any], tmp_path: Path) -> None:
        assert run_here(capsys, *arguments, "--fix", "drop", "--output", tmp_path / "good.jsonl").code == 0
        assert [row["id"] for row in read_jsonl(tmp_path / "good.jsonl")] == ["r0", "r1", "r10", "r11"]
        assert (tmp_path / "good.changes.jsonl").is_file()

    def test_a_long_list_of_changes_is_cut(self, capsys: Any, tmp_path: Path, arguments: list[Any]) -> None:
        write_jsonl(tmp_path / "rationales.jsonl", [*lines(SOUND), *[{"id": f"no{i}"} for i in range(25)]])
        ended = run_here(capsys, *arguments, "--fix", "drop")
        assert ended.out.count("\ndropped ") == 20
        assert "and 5 more" in ended.out
        assert len(read_jsonl(tmp_path / "rationales.clean.changes.jsonl")) == 25

    @pytest.mark.parametrize(
        ("options", "named"),
        [
            (["--fix", "drop", "--output", "rationales.jsonl"], "--output"),
            (["--fix", "strip", "--output", "../{folder}/rationales.jsonl"], "--output"),
            (["--fix", "drop", "--output", "clean.json"], "--output"),
            (["--fix", "drop", "--output", "clean"], "--output"),
            (["--fix", "mend"], "--fix mend: unknown; give drop or strip"),
            (["--fix", "drop", "--kind", "nonsense"], "--kind nonsense: unknown"),
        ],
    )
    def test_what_is_refused(
        self, capsys: Any, arguments: list[Any], tmp_path: Path, options: list[str], named: str, monkeypatch: Any
    ) -> None:
        monkeypatch.chdir(tmp_path)
        before = {path: path.read_bytes() for path in tmp_path.iterdir()}
        ended = run_here(capsys, *arguments, *(option.format(folder=tmp_path.name) for option in options))
        assert ended.code == 2
        assert len(ended.error_lines) == 1 and named in ended.error_lines[0]
        assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before

    @pytest.mark.parametrize(
        "options", [["--kind", "label_leak"], ["--fix", "strip", "--kind", "length"], ["--output", "clean.jsonl"]]
    )
    def test_options_without_their_fix_are_refused(
        self, capsys: Any, arguments: list[Any], tmp_path: Path, options: list[str], monkeypatch: Any
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert run_here(capsys, *arguments, *options).code == 2

    def test_the_audited_file_may_be_called_like_the_list_of_changes(
        self, capsys: Any, arguments: list[Any], tmp_path: Path
    ) -> None:
        source = (tmp_path / "rationales.jsonl").rename(tmp_path / "good.changes.jsonl")
        before = source.read_bytes()
        arguments[2] = source
        run_here(capsys, *arguments, "--fix", "drop", "--output", tmp_path / "good.jsonl")
        assert source.read_bytes() == before

    def test_half_a_character_in_another_column(self, capsys: Any, arguments: list[Any], tmp_path: Path) -> None:
        written = [{**line, "tags": ["<half>"]} for line in lines(SOUND)]
        source = write_jsonl(tmp_path / "rationales.jsonl", written)
        source.write_text(source.read_text().replace("<half>", "\\ud83d"))
        assert run_here(capsys, *arguments, "--fix", "drop").code in (0, 2)


Capsys = pytest.CaptureFixture[str]


def test_exit_codes_and_what_is_said(tmp_path: Path, capsys: Capsys) -> None:
    data = write_cases(tmp_path / "d.jsonl", 6)

    def generate(endpoint: FaultyEndpoint, name: str, *more: str) -> Any:
        arguments = ["--data", data, "--output", tmp_path / name, "--teacher", "openai:tiny"]
        return run_here(capsys, "rationales", "generate", *arguments, "--base-url", endpoint.url, *more)

    with serving(FaultyEndpoint(script=["500"])) as endpoint:
        done = generate(endpoint, "a.jsonl")
        assert (done.code, done.err) == (0, "")
        assert "6 of 6 rows have a rationale" in done.out
        assert "7 requests in this run, 6 answered, 1 failed (1 HTTP 500)" in done.out
        endpoint.script = ["refusal"]
        done = generate(endpoint, "b.jsonl", "--require-all")
        assert done.code == 1
        assert "1 rejected: 1 refused; --retry-rejected asks them again" in done.out
        assert generate(endpoint, "b.jsonl").code == 0
        assert generate(endpoint, "b.jsonl", "--retry-rejected", "--require-all").code == 0
        spent = generate(
            endpoint,
            "c.jsonl",
            "--input-price",
            "1000",
            "--output-price",
            "1000",
            "--max-cost",
            "0.5",
            "--max_tokens",
            "50",
        )
        assert spent.code == 3
        assert "rows left; raise --max-cost and run again to continue" in spent.out
    for arguments, message in (
        (["--data", data, "--output", tmp_path / "e.jsonl"], "no teacher given; use --teacher openai:MODEL or"),
        (["--output", tmp_path / "e.jsonl", "--teacher", "openai:x"], "no rows given; use --data FILE"),
        (["--data", data, "--output", tmp_path / "e.jsonl", "--teacher", "x"], "write openai:MODEL or local:"),
    ):
        done = run_here(capsys, "rationales", "generate", *arguments)
        assert (done.code, len(done.error_lines)) == (2, 1)
        assert message in done.err
