"""The audit of a whole file: what each line shows, and how it is shown."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from dhrd.config import load_config
from dhrd.errors import ConfigError, DataError
from dhrd.rationales.audit.audit import Audit, audit_rationales
from dhrd.rationales.audit.flags import KINDS
from dhrd.rationales.audit.show import facts, to_json, write_page
from helpers.audit import LABELS, cases, lines
from helpers.rows import write_jsonl
from helpers.runs import run_here

NUM_ROWS = 30
ROWS, SOUND = cases(NUM_ROWS)


def audit(tmp_path: Path, written: Sequence[Any], rows: Any = ROWS, **settings: Any) -> Audit:
    return audit_rationales(write_jsonl(tmp_path / "rationales.jsonl", written), rows, **settings)


def flags(found: Audit) -> list[tuple[str, list[str]]]:
    """The flagged lines by number, with their kinds."""
    return [(line.where.rpartition(":")[2], [flag.kind for flag in line.flags]) for line in found.lines if line.flags]


def mixed() -> list[Any]:
    """Twenty sound lines, and faults of several kinds."""
    faults = [
        ["no object"],
        {"id": "r20"},
        {"id": "r3", "rationale": SOUND[21]},
        {"id": "none", "rationale": SOUND[22]},
    ]
    return [*lines(SOUND[:20]), *faults, {"id": "r25", "rationale": f"{SOUND[25]} So the answer is return."}]


def test_a_sound_file_has_no_flag(tmp_path: Path) -> None:
    found = audit(tmp_path, lines(SOUND))
    assert flags(found) == []
    assert found.counts == dict.fromkeys(KINDS, 0)
    assert (found.num_rows, found.missing) == (NUM_ROWS, [])
    assert found.alignment.mean_rank == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "not valid JSON"),
        ('["r5", "text"]', "must be an object"),
        ('{"rationale": "It rained all day."}', "id: missing"),
        ('{"id": null, "rationale": "It rained all day."}', "id: missing"),
        ('{"id": true, "rationale": "It rained all day."}', "id: True is neither text nor an integer"),
        ('{"id": "r5"}', "rationale: missing or empty"),
        ('{"id": "r5", "rationale": "  "}', "rationale: missing or empty"),
        ('{"id": "r5", "rationale": ["It rained."]}', "rationale: ['It rained.'] is not text"),
        ('{"id": "r5", "rationale": "It \\ud83d rained."}', "half of a surrogate pair"),
    ],
)
def test_malformed_lines_are_flagged_and_the_rest_is_read(tmp_path: Path, line: str, says: str) -> None:
    path = write_jsonl(tmp_path / "r.jsonl", lines(SOUND[:5]))
    path.write_text(path.read_text() + line + "\n" + json.dumps({"id": "r6", "rationale": SOUND[6]}) + "\n")
    found = audit_rationales(path, ROWS)
    assert flags(found) == [("6", ["malformed"])]
    detail = found.lines[5].flags[0].detail
    assert says in detail and str(path) not in detail
    assert found.lines[5].where == f"{path}:6"
    assert [found.missing[0], len(found.missing)] == ["r5", NUM_ROWS - 6]


def test_a_line_that_is_no_utf8(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "r.jsonl", lines(SOUND[:5]))
    path.write_bytes(path.read_bytes() + b'{"id": "r5", "rationale": "caf\xe9"}\n')
    assert flags(audit_rationales(path, ROWS)) == [("6", ["malformed"])]


def test_duplicate_and_unmatched_and_missing_ids(tmp_path: Path) -> None:
    written = lines(SOUND[:10])
    written += [{"id": "r2", "rationale": SOUND[2] + " It rained that day."}, {"id": "r99", "rationale": SOUND[15]}]
    written += [{"id": "r99", "rationale": SOUND[16]}]
    found = audit(tmp_path, written)
    assert [(line.id, flag.kind) for line in found.lines for flag in line.flags if flag.kind != "near_duplicate"] == [
        ("r2", "duplicate_id"),
        ("r99", "unmatched_id"),
        ("r99", "duplicate_id"),
        ("r99", "unmatched_id"),
    ]
    assert found.missing == [f"r{number}" for number in range(10, NUM_ROWS)]
    assert next(facts(found)) == "rows: 10 of 30 have a rationale, 20 have none"


def test_ids_may_be_integers(tmp_path: Path) -> None:
    rows = [{**row, "id": number} for number, row in enumerate(ROWS)]
    found = audit(tmp_path, [{"id": number, "rationale": text} for number, text in enumerate(SOUND)], rows)
    assert (flags(found), found.missing) == ([], [])


def test_forbidden_and_allowed_words(tmp_path: Path) -> None:
    written = lines(SOUND)
    written[1]["rationale"] += " They return it, and send it back."
    assert flags(audit(tmp_path, written)) == [("2", ["label_leak"])]
    assert flags(audit(tmp_path, written, allow=["return"])) == []
    assert flags(audit(tmp_path, written, allow=["return"], forbid=["sen[dt] it"])) == [("2", ["label_leak"])]
    with pytest.raises(ConfigError, match=r"^--forbid: not a regular expression"):
        audit(tmp_path, written, forbid=["("])


def test_a_tasks_own_words_are_looked_for(tmp_path: Path, shared_data: Path) -> None:
    config = load_config(data__superglue_root=str(shared_data / "superglue"))
    path = write_jsonl(tmp_path / "r.jsonl", [{"id": "wsc-train-0", "rationale": "Here the pronoun refers to Pete."}])
    found = audit_rationales(path, "superglue:wsc", config=config)
    assert "label_leak" in [flag.kind for flag in found.lines[0].flags]
    path = write_jsonl(tmp_path / "v.jsonl", [{"id": "wsc-validation-0", "rationale": "It is as plain as day here."}])
    assert audit_rationales(path, "superglue:wsc", config=config, split="validation").counts["unmatched_id"] == 0


def mapped(tmp_path: Path, **more: str) -> Audit:
    """An audit of rows whose label stands in the column `verdict`; the first rationale names it."""
    rows = [{"id": row["id"], "text": row["input_text"], "verdict": row["label"], **more} for row in ROWS]
    written = lines(SOUND)
    written[0]["rationale"] += " They repair it."
    columns = {"data__columns": {"input_text": "text", "label": "verdict"}}
    return audit(tmp_path, written, rows, config=load_config(**columns))


def test_a_label_in_a_column_of_another_name_is_no_text_of_the_row(tmp_path: Path) -> None:
    assert flags(mapped(tmp_path)) == [("1", ["label_leak"])]


def test_a_mapped_label_is_not_told_from_the_input(tmp_path: Path) -> None:
    accuracy = mapped(tmp_path).leak.input_accuracy
    assert accuracy is not None and accuracy < 0.9


def test_several_labels_a_row(tmp_path: Path) -> None:
    rows = [{**row, "label": [row["label"]] if number % 3 else []} for number, row in enumerate(ROWS)]
    found = audit(tmp_path, lines(SOUND), rows)
    assert found.leak.rationale_accuracy is None
    assert "not measured, as rows may have several labels" in "\n".join(facts(found))


def test_a_file_without_any_rationale(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"rationales.jsonl: no line has an id and a rationale; .*convert"):
        audit(tmp_path, [{"id": "r1"}, ["r2"], {"id": "r3", "explanation": "So."}])
    with pytest.raises(DataError, match="no line has an id and a rationale"):
        audit(tmp_path, [])


def test_the_facts(tmp_path: Path) -> None:
    told = "\n".join(facts(audit(tmp_path, lines(SOUND))))
    assert "rows: 30 of 30 have a rationale, 0 have none" in told
    assert "words: 13 in the median, 13 to 13" in told
    assert "the own input ranks 1.000" in told and "0 of 30 misaligned" in told
    assert "commonest label 0.50" in told and "toward repair: " in told


def test_json_holds_each_line_and_totals_that_agree(tmp_path: Path) -> None:
    found = audit(tmp_path, mixed())
    value = json.loads(json.dumps(to_json(found)))
    assert (value["format"], value["num_rows"], value["num_lines"]) == (1, NUM_ROWS, len(mixed()))
    assert [row["where"] for row in value["rows"]] == [
        f"{tmp_path / 'rationales.jsonl'}:{number}" for number in range(1, len(mixed()) + 1)
    ]
    kinds = Counter(flag["kind"] for row in value["rows"] for flag in row["flags"])
    assert value["flags"] == {kind: kinds[kind] for kind in KINDS}
    assert kinds >= Counter(malformed=2, duplicate_id=1, unmatched_id=1, label_leak=1, misaligned=1)
    assert value["num_flagged"] == sum(bool(row["flags"]) for row in value["rows"]) == 5
    assert value["num_missing"] == len(value["missing"])
    with_rationale = {row["id"] for row in value["rows"]} & {row["id"] for row in ROWS}
    assert set(value["missing"]) == {row["id"] for row in ROWS} - with_rationale
    ranks = [row["rank"] for row in value["rows"] if row["rank"] is not None]
    assert value["alignment"]["num_compared"] == len(ranks) == 22
    assert value["alignment"]["mean_rank"] == pytest.approx(sum(ranks) / len(ranks))
    assert value["alignment"]["num_misaligned"] == kinds["misaligned"]
    counts = [row["num_words"] for row in value["rows"] if row["num_words"]]
    assert value["words"] == {"min": 13, "median": 13, "mean": pytest.approx(sum(counts) / 23), "max": 18}
    assert value["leak"]["num_rows"] == 22
    assert value["leak"]["chance"] == pytest.approx(12 / 22)
    assert set(value["leak"]["ngrams"]) == set(LABELS.names)


class TestPage:
    """The HTML page."""

    @staticmethod
    def page(tmp_path: Path, written: Sequence[Any]) -> str:
        write_page(audit(tmp_path, written), tmp_path / "page.html")
        return (tmp_path / "page.html").read_text(encoding="utf-8")

    def test_it_needs_nothing_from_elsewhere_and_runs_nothing(self, tmp_path: Path) -> None:
        page = self.page(tmp_path, mixed())
        assert page.startswith("<!doctype html>") and page.rstrip().endswith("</html>")
        assert not re.search(r"<(?:script|link|iframe|img|object|embed)\b|@import|url\(|\son\w+=", page, re.IGNORECASE)
        assert not re.search(r'(?:src|href)\s*=(?!"#)', page, re.IGNORECASE)

    def test_what_rows_say_is_text(self, tmp_path: Path) -> None:
        evil = '<script>alert(1)</script> & "it" </div>'
        written = mixed()
        written[0] = {"id": "r0", "rationale": f"{SOUND[0]} {evil}"}
        written.append({"id": "<script>alert(2)</script>", "rationale": f"{SOUND[26]} So {evil} it is."})
        page = self.page(tmp_path, written)
        assert "<script" not in page.lower()
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
        assert "&lt;script&gt;alert(2)&lt;/script&gt;" in page
        assert page.count("<div") == page.count("</div>")

    def test_what_was_found_is_marked_within_the_whole_text(self, tmp_path: Path) -> None:
        text = f"{SOUND[0]} They repair it, salt &amp; all. So the answer is <b>repair</b>, or the label is repair."
        page = self.page(tmp_path, [{"id": "r0", "rationale": text}, *lines(SOUND)[1:]])
        shown = re.findall(r'<div class="text">(.*?)</div>', page)
        marked = [part for part in shown if "<mark>" in part]
        assert len(marked) == 2  # as a leak, and as damaged
        assert all(unescape(re.sub(r"</?mark>", "", part)) == text for part in marked)
        found = [list(map(unescape, re.findall(r"<mark>(.*?)</mark>", part))) for part in marked]
        assert found == [["repair", "repair", "label is repair"], ["&amp;"]]

    @pytest.mark.parametrize(("count", "shown"), [(3, 3), (20, 20), (26, 20)])
    def test_at_most_twenty_rows_of_a_kind(self, tmp_path: Path, count: int, shown: int) -> None:
        told = [f"{text} So they {row['label']} it." for text, row in zip(SOUND, ROWS, strict=True)]
        page = self.page(tmp_path, lines([*told[:count], *SOUND[count:]]))
        sections = page.split('<h2 id="label_leak">')
        assert len(sections) == 2
        assert [text for text in SOUND if text in page] == SOUND[:shown]
        assert ("the first 20 shown" in sections[1]) == (count > 20)
        assert sections[1].count('class="row"') == shown

    def test_kinds_without_rows_have_no_section(self, tmp_path: Path) -> None:
        page = self.page(tmp_path, lines(SOUND[:5]))
        assert 'class="row"' not in page
        assert all(f">{kind}<" in page for kind in KINDS)
        assert "r5, r6, r7" in page and "r25" not in page.split("Rows without a rationale")[1]

    def test_a_page_of_rows_that_could_not_be_measured(self, tmp_path: Path) -> None:
        write_page(audit(tmp_path, lines(SOUND[:1]), ROWS[:2]), tmp_path / "page.html")
        page = (tmp_path / "page.html").read_text(encoding="utf-8")
        assert "Not measured: a label has fewer than 5 rows" in page
        assert "mean rank" not in page


class TestCommand:
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
        assert all(kind in ended.out for kind in KINDS)
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
            ("rationales.jsonl", [], "no rows are given"),
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
