"""An audit as JSON, as sentences, and as a page."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from dhrd.rationales.audit.flags import KINDS
from dhrd.rationales.audit.show import facts, to_json, write_page
from helpers.audit import LABELS, ROWS, SOUND, audit, lines, mixed


def test_the_facts(tmp_path: Path) -> None:
    told = "\n".join(facts(audit(tmp_path, lines(SOUND))))
    assert "rows: 30 of 30 have a rationale, 0 have none" in told
    assert "words: 13 in the median, 13 to 13" in told
    assert "the own input ranks 1.000" in told and "0 of 30 misaligned" in told
    assert "commonest label 0.50" in told and "toward repair: " in told


def test_json_holds_each_line_and_totals_that_agree(tmp_path: Path) -> None:
    found = audit(tmp_path, mixed())
    value = json.loads(json.dumps(to_json(found)))
    assert (value["format"], value["num_rows"], value["num_lines"]) == (1, len(ROWS), len(mixed()))
    assert [row["where"] for row in value["rows"]] == [
        f"{tmp_path / 'rationales.jsonl'}:{number}" for number in range(1, len(mixed()) + 1)
    ]
    kinds = Counter(flag["kind"] for row in value["rows"] for flag in row["flags"])
    assert value["flags"] == {kind: kinds[kind] for kind in KINDS if kind != "worthless"}
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
        assert all((f">{kind}<" in page) == (kind != "worthless") for kind in KINDS)
        assert "r5, r6, r7" in page and "r25" not in page.split("Rows without a rationale")[1]

    def test_a_page_of_rows_that_could_not_be_measured(self, tmp_path: Path) -> None:
        write_page(audit(tmp_path, lines(SOUND[:1]), ROWS[:2]), tmp_path / "page.html")
        page = (tmp_path / "page.html").read_text(encoding="utf-8")
        assert "Not measured: a label has fewer than 5 rows" in page
        assert "mean rank" not in page
