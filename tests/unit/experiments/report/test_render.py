"""The report's page and Markdown: what they hold, that they hold together, and that data cannot break them."""

from __future__ import annotations

import json
import re
import sys
from html import unescape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from dhrd.errors import SaveError
from helpers.report import (
    DATA,
    SVG,
    Elements,
    drawn,
    figures_of,
    full_report,
    html,
    markdown,
    minimal_report,
    task_of,
    throughput_report,
    tuned_report,
    without_panels,
    words,
    write_report,
)

HOSTILE = "<script>alert('$1$')</script> & | `x` \"q\"\n**b**"


# A figure takes a tenth of a second: few reports are drawn, each once, and tests of tables alone draw none.


def _study() -> dict[str, Any]:
    """Three tasks, the last of them without what takes a drawing for each task."""
    report = full_report(num_seeds=2, num_tasks=3)
    for arm in task_of(report, 2)["arms"]:
        arm |= {"calibration": None, "curve": []}
    return report


@pytest.fixture(scope="module")
def page() -> str:
    return html(_study())


@pytest.fixture(scope="module")
def speed_page() -> str:
    return html(throughput_report(num_tasks=2))


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages are rendered as where Matplotlib is not installed."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)


@pytest.fixture(scope="module")
def elements(page: str) -> Elements:
    return Elements(page)


def _numbers(report: dict[str, Any]) -> list[str]:
    """The tables' numbers, written anew."""

    def percent(share: float) -> str:
        return f"{100 * share:.1f}"

    def signed(share: float) -> str:
        return percent(share).replace("-", "−") if share < 0 else f"+{percent(share)}"

    found: list[str] = []
    for task in report["backbones"][0]["tasks"]:
        found += [f"{task['num_train']:,}", f"{task['num_with_rationale']:,}", percent(task["majority_share"])]
        for arm in task["arms"]:
            found += [percent(one) for one in arm["mean"].values()]
            found += [percent(end) for interval in arm["interval_95"].values() for end in interval]
            found += [percent(one) for seed in arm["seeds"] for one in seed["values"].values()]
            found.append(f"{arm['train_tokens']:,}")
            if arm["calibration"]:
                found += [f"{arm['calibration'][key]:.3f}" for key in ("ece", "brier", "log_loss", "aurc")]
            if arm["speed"]:
                found += [percent(arm["speed"]["accuracy"])]
            if "unparsable" in arm:
                found += [percent(arm["unparsable"]), f"{arm['mean_new_tokens']:.1f}"]
        for one in task["comparisons"]:
            found += [signed(end) for end in (one["difference"], *one["interval_95"], *one["seed_differences"])]
            found += [f"{one['p_value']:.3f}"] if one["p_value"] >= 0.001 else ["< 0.001"]
            found += [
                f"{test['only_baseline']} : {test['only_other']}, {test['p_value']:.3f}" for test in one["mcnemar"]
            ]
    return [number for number in found if number.lstrip("+−") != "0.0"]


@pytest.mark.usefixtures("no_figures")
def test_the_three_files_are_written_whole(tmp_path: Path) -> None:
    report = full_report(num_tasks=1)
    paths = write_report(report, tmp_path / "made" / "here")
    assert [path.name for path in paths] == ["report.json", "report.md", "report.html"]
    assert sorted(paths) == sorted((tmp_path / "made" / "here").iterdir())
    assert json.loads(paths[0].read_text(encoding="utf-8")) == report == full_report(num_tasks=1)
    assert paths[1].read_text(encoding="utf-8") == markdown(report)
    assert paths[2].read_text(encoding="utf-8") == html(report)


def test_a_place_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SaveError, match="file"):
        write_report(minimal_report(), tmp_path / "file" / "report")


def test_a_page_is_whole_and_loads_nothing(page: str, elements: Elements, speed_page: str) -> None:
    _check_whole(page, elements)
    for text in (speed_page, html(minimal_report())):
        _check_whole(text, Elements(text))


def _check_whole(text: str, page: Elements) -> None:
    loaded = [value for _, found in page.found for key, value in found.items() if key in ("src", "href", "xlink:href")]
    assert all(value is not None and value.startswith(("#", DATA)) for value in loaded)
    assert not {"script", "link", "iframe", "object", "embed"} & {tag for tag, _ in page.found}
    assert not re.search(r"https?://|@import|url\((?!#)", text)
    for figure in figures_of(text):
        used = [value for part in ElementTree.fromstring(figure).iter() for value in _addresses(part)]
        assert all(value.startswith("#") for value in used)
        assert not re.search(r"@import|url\((?!#)|<(script|image|use [^>]*href=\"[^#])", figure)


def _addresses(element: ElementTree.Element) -> list[str]:
    return [value for name, value in element.attrib.items() if name.rpartition("}")[2] in ("href", "src")]


def test_every_number_is_in_both_forms(page: str, speed_page: str) -> None:
    num_checked = 0
    for report, text in ((_study(), page), (throughput_report(num_tasks=2), speed_page)):
        shown, written = words(text), unescape(markdown(report))
        for number in _numbers(report):
            assert number in shown, number
            assert number in written, number
            num_checked += 1
    assert num_checked > 180


def test_the_verdict_the_primary_and_the_limits_are_in_both_forms(page: str) -> None:
    report = _study()
    primary = report["primary"]
    says = [report["title"], report["question"], report["answer"], report["command"], *report["limits"]]
    says += [f"+{100 * primary['difference']:.1f}", "0.004", "+5.47 %", report["undone"][0]["cell"], "cpu, 2 cores"]
    for form in (words(page), markdown(report)):
        assert [one for one in says if one not in form] == []


def test_settings_are_shown(page: str) -> None:
    shown = words(page)
    assert "training.learning_rate" in shown and "0.0001" in shown and "loss.reasoning_weight" in shown


def test_figures_are_all_there_each_saying_what_is_seen(elements: Elements, speed_page: str) -> None:
    num_drawn = {"differences": 2, "radar": 1, "reliability": 2, "risk_coverage": 2, "curves": 2}
    images = elements.of("img")
    assert len(images) == sum(num_drawn.values())
    labels = [found["alt"] or "" for found in images]
    assert len([label for label in labels if len(label) > 40]) == len(images)
    assert "mean of 3 tasks: +3.1 points, 95 % interval +2.2 to +4.0" in labels[0]
    assert "the interval excludes zero in 1" in labels[0]
    assert speed_page.count("accuracy against queries per second") == 2


def test_in_each_figure_ids_are_unique_and_every_reference_is_met(page: str) -> None:
    num_used = 0
    for figure in figures_of(page):
        elements = list(ElementTree.fromstring(figure).iter())
        ids = [element.attrib["id"] for element in elements if "id" in element.attrib]
        used = {one or other for one, other in re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', figure)}
        assert len(set(ids)) == len(ids) and used <= set(ids)
        num_used += len(used)
    assert num_used > 20


def test_each_figure_says_what_is_seen_and_follows_the_readers_mode(page: str, speed_page: str) -> None:
    drawings = figures_of(page + speed_page)
    assert len(drawings) == 9 + 4
    for drawing in drawings:
        assert "prefers-color-scheme: dark" in drawing
        assert len(ElementTree.fromstring(drawing).findtext(f"{SVG}title") or "") > 40


def test_the_same_report_gives_the_same_files(page: str) -> None:
    assert html(_study()) == page
    assert markdown(full_report()) == markdown(full_report())


@pytest.mark.usefixtures("no_figures")
def test_without_matplotlib_the_page_says_how_to_get_figures() -> None:
    page = html(full_report())
    assert "'dhrd[report]' from an index that has it" in unescape(page)
    assert "<img" not in page and "<figure" not in page
    shown = words(page)
    assert [number for number in _numbers(full_report()) if number not in shown] == []
    assert "Figures" not in markdown(full_report())


def test_a_report_with_hardly_anything_is_shown() -> None:
    for form in (words(html(minimal_report())), markdown(minimal_report())):
        assert "Nothing can be said yet." in form and "not run" in form
        assert not re.search(r"\bNone\b|\bnan\b", form)


_ARM_KEYS = (
    *("seeds", "mean", "interval_95", "calibration", "curve", "speed", "title", "seconds", "train_tokens"),
    *("chosen", "interval_method", "mean_new_tokens", "unparsable"),
)


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize("key", _ARM_KEYS)
def test_a_page_lives_with_nulls_in_an_arm(key: str) -> None:
    report = full_report(num_tasks=1)
    task_of(report)["arms"][0][key] = None
    task_of(report)["arms"][1].pop(key, None)
    assert "None" not in words(html(report))


def test_figures_live_with_nulls_in_an_arm() -> None:
    report = _study()
    for key in _ARM_KEYS:
        task_of(report, 0)["arms"][0][key] = None
        task_of(report, 1)["arms"][1].pop(key, None)
    assert drawn(report) == {"differences": 2, "radar": 1, "reliability": 2, "risk_coverage": 2, "curves": 2}
    for key in _ARM_KEYS:
        task_of(report, 0)["arms"][1][key] = None
    del report["backbones"][0]["tasks"][1:]
    task_of(report)["comparisons"], report["primary"] = [], None
    assert drawn(report) == {}


@pytest.mark.parametrize("key", ["accuracy", "min", "max", "mean_new_tokens", "unparsable_share", "queries_per_second"])
def test_a_speed_that_lacks_a_number_is_shown(key: str) -> None:
    report = throughput_report(num_tasks=1)
    task_of(report)["comparisons"] = []
    task_of(report)["arms"][2]["speed"][key] = None
    task_of(report)["arms"][0]["speed"][key] = float("nan")
    page = html(report)
    assert not re.search(r"\bNone\b|\bnan\b", words(page)) and page.count("<figure") == 1


def _hostile(value: Any) -> Any:
    """A report whose every text is an attack; keys are kept."""
    if isinstance(value, dict):
        return {key: _hostile(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_hostile(one) for one in value]
    return f"{HOSTILE}{value}" if isinstance(value, str) else value


def test_hostile_text_is_escaped_in_the_page_and_its_figures() -> None:
    report = _hostile(tuned_report(num_tasks=3))
    report["backbones"][0]["tasks"][1:] = without_panels(_hostile(tuned_report(num_tasks=3)))["backbones"][0]["tasks"][
        1:
    ]
    for task in report["backbones"][0]["tasks"]:
        task["metrics"] = ["accuracy"]
        for arm in task["arms"]:
            arm["mean"] = {"accuracy": 0.5}
        for one in task["comparisons"]:
            one["metric"] = "accuracy"
    page = html(report)
    elements = Elements(page)
    assert elements.of("script") == [] and elements.of("b") and "<script" not in page
    assert page.count("&lt;script&gt;") > 20
    assert any("<script>" in (found.get("alt") or "") for found in elements.of("img"))
    parts = [part.tag for figure in figures_of(page) for part in ElementTree.fromstring(figure).iter()]
    assert f"{SVG}text" in parts and f"{SVG}script" not in parts


def test_hostile_text_stays_within_its_markdown_cell() -> None:
    clean = tuned_report(num_tasks=7)
    clean["backbones"][0] |= {"average": {}, "relative_gain_percent": {}}  # their keys are the arms' names
    report = _hostile(clean)
    text = markdown(report)
    fence = re.search(r"(?m)^(`{3,})sh\n(?:.*\n)*?\1$", text)
    assert fence is not None
    rest = text.replace(fence[0], "")
    assert "<script" not in rest and not re.search(r"(?<!\\)`", rest)
    widths = [len(re.findall(r"(?<!\\)\|", line)) for line in rest.splitlines() if line.startswith("|")]
    expected = [line.count("|") for line in markdown(clean).splitlines() if line.startswith("|")]
    assert widths == expected and len(widths) > 40


@pytest.mark.usefixtures("no_figures")
def test_a_number_selected_on_its_rows_is_marked() -> None:
    for form in (words(html(full_report(num_tasks=2))), markdown(full_report(num_tasks=2))):
        assert "60.9†" in form and "† Selected on these rows" in form
    report = full_report(num_tasks=2)
    for task in report["backbones"][0]["tasks"]:
        for arm in task["arms"]:
            arm["selected_on"] = False
    assert "†" not in html(report) and "†" not in markdown(report)


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize(
    ("interval", "metric", "tone"),
    [
        ([0.001, 0.02], "accuracy", "better"),
        ([-0.02, -0.001], "accuracy", "worse"),
        ([0.0, 0.02], "accuracy", ""),
        ([-0.01, 0.02], "accuracy", ""),
        (None, "accuracy", ""),
        ([0.001, 0.02], "log_loss", "worse"),
    ],
)
def test_a_difference_is_coloured_only_where_its_interval_excludes_zero(
    interval: list[float] | None, metric: str, tone: str
) -> None:
    report = full_report(num_tasks=1)
    report["primary"] = None
    task = task_of(report)
    task["metrics"] = [metric]
    task["comparisons"][0] |= {"interval_95": interval, "metric": metric}
    page = html(report)
    assert [found["class"] for found in Elements(page).of("td") if "number" in (found.get("class") or "")].count(
        f"number {tone}"
    ) == 1
    assert ("**+" in markdown(report)) == bool(tone)


@pytest.mark.usefixtures("no_figures")
def test_chosen_settings_are_shown_with_the_numbers_that_chose_them() -> None:
    report = tuned_report()
    report["choices"][0]["value"] = None
    page = html(report)
    (table,) = re.findall(r"<summary>What was chosen, and by what</summary>.*?</details>", page, flags=re.DOTALL)
    rows = [words(row) for row in re.findall(r"<tr.*?</tr>", table, flags=re.DOTALL)[1:]]
    assert len(rows) == len(report["choices"]) == 8
    for one, row in zip(report["choices"], rows, strict=True):
        value = "–" if one["value"] is None else f"{100 * one['value']:.1f}†"
        assert (
            row.startswith(one["task"]) and f"training.learning_rate {one['settings']['training.learning_rate']}" in row
        )
        assert row.endswith(f"{value}5chosen" if one["chosen"] else f"{value}5")
    assert table.count('<tr class="chosen">') == 4 and "† Selected on" in words(table)
    assert page.count("<small>training.learning_rate 0.0003</small>") == 4


def test_markdown_has_one_line_for_each_choice_with_what_it_was_chosen_over() -> None:
    report = tuned_report()
    chosen = [one for one in report["choices"] if one["chosen"]]
    rivals = [one for one in report["choices"] if not one["chosen"]]
    chosen[1]["num_folds"] = 1
    rivals[2] |= {"value": None, "diverged": True}
    lines = [line for line in markdown(report).splitlines() if "training.learning_rate" in line]
    assert len(lines) == len(chosen) == len(rivals) == 4
    for one, rival, line in zip(chosen, rivals, lines, strict=True):
        folds, value = "1 fold" if one is chosen[1] else "5 folds", f"{100 * one['value']:.1f}†, "
        lost = "diverged" if rival is rivals[2] else f"{100 * rival['value']:.1f}"
        assert line.startswith(f"- {one['task']}, ") and f" {value}{folds}), over training.learning_rate " in line
        assert line.endswith(f"training.learning_rate {rival['settings']['training.learning_rate']} ({lost})")


@pytest.mark.usefixtures("no_figures")
def test_without_choices_nothing_is_said_of_them() -> None:
    for form in (html(_study()), markdown(_study())):
        assert "What was chosen" not in form and "Selected on: " not in form


@pytest.mark.usefixtures("no_figures")
def test_decoded_answers_are_told_beside_the_seeds_only_where_there_are_any() -> None:
    report = throughput_report(num_tasks=2)
    task_of(report)["arms"][2]["unparsable"] = None
    for form in (html(report), markdown(report)):
        assert "unparsable" in form
    (table,) = re.findall(r"<h3>Decoded answers</h3>.*?</details>", html(report), flags=re.DOTALL)
    cells = [words(cell) for cell in re.findall(r"<td.*?</td>", table, flags=re.DOTALL)]
    found = [task_of(report, number)["arms"][2] for number in range(2)]
    assert cells[2::4] == [f"{arm['mean_new_tokens']:.1f}" for arm in found]
    assert cells[3::4] == ["–", f"{100 * found[1]['unparsable']:.1f} %"]
    assert "Decoded answers" not in html(_study())


@pytest.mark.usefixtures("no_figures")
def test_both_kinds_of_intervals_say_how_they_were_made() -> None:
    for form in (words(html(_study())), markdown(_study())):
        assert form.count("Interval of a task’s first metric: Wilson's score interval.") == 1
        assert form.count("Interval of a difference: seeds and rows bootstrapped in pairs.") == 1


def test_speed_is_compared_on_one_device_only() -> None:
    report = throughput_report(num_tasks=1)
    assert "122 ×" in markdown(report)
    task_of(report)["arms"][0]["speed"]["device"] = "cuda"
    assert "122 ×" not in markdown(report) and "96 to 142 ×" in markdown(report)
