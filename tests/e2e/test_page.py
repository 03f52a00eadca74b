"""The page of `dhrd serve` in a real browser: type, label, explain, a table in and out, by keyboard, on a phone."""

from __future__ import annotations

import csv
import io
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dhrd import Classifier
from helpers.artifacts import TASKS, change, save_tiny
from helpers.serving import Running, running

playwright = pytest.importorskip("playwright.sync_api", reason="no browser: pip install playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no browser: apt-get install chromium")

SCREENSHOTS = os.environ.get("DHRD_SCREENSHOTS")
"""A directory that gets pictures of the page, for people to look at."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def server(tiny_classifier: Classifier) -> Iterator[Running]:
    with running(tiny_classifier, max_new_tokens=8) as found:
        yield found


@pytest.fixture
def page(browser: Any, server: Running) -> Iterator[Any]:
    yield from opened(browser, server)


def opened(browser: Any, server: Running, **options: Any) -> Iterator[Any]:
    """The page, which must say nothing in the browser's console."""
    context = browser.new_context(**options)
    page, said = context.new_page(), []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(str(server.client.base_url))
    yield page
    context.close()
    refused = [text for text in said if "the server responded with a status of 4" not in text]
    assert refused == []


def picture(page: Any, name: str) -> None:
    if SCREENSHOTS:
        page.screenshot(path=Path(SCREENSHOTS) / f"{name}.png", full_page=True)


def cards(page: Any, count: int) -> Any:
    found = page.locator("#results article")
    playwright.expect(found).to_have_count(count)
    return found


def test_rows_get_labels_and_bars_by_keyboard_alone(page: Any, tiny_classifier: Classifier) -> None:
    playwright.expect(page.get_by_label("Texts to classify")).to_be_focused()
    texts = ["case 1 <b>bold</b>", "late & later", "x"]
    page.keyboard.type(texts[0])
    for text in texts[1:]:
        page.keyboard.press("Enter")
        page.keyboard.type(text)
    page.keyboard.press("Control+Enter")
    found = cards(page, 3)
    labels, p_BC = tiny_classifier.predict(texts), tiny_classifier.predict_proba(texts)
    for at, (text, label, row_C) in enumerate(zip(texts, labels, p_BC, strict=True)):
        card = found.nth(at)
        assert card.locator("p.text").inner_text() == text  # markup of a row is text
        assert card.locator("p.label").inner_text() == label
        assert card.locator(".bars .number").all_inner_texts() == [f"{100 * p:.1f} %" for p in sorted(row_C)[::-1]]
        assert card.locator(".bars .chosen .name").inner_text() == label
    picture(page, "rows")
    for _ in range(20):  # every button is reached by Tab
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "Explain":
            break
    page.keyboard.press("Enter")
    playwright.expect(page.locator(".explanation")).to_contain_text("An illustration, not the reason for the label")


def test_one_text_of_several_lines(page: Any) -> None:
    page.get_by_label("One row a line").uncheck()
    page.get_by_label("Texts to classify").fill("first line\nsecond line")
    page.get_by_role("button", name="Classify").click()
    assert cards(page, 1).locator("p.text").inner_text() == "first line\nsecond line"


def test_an_explanation_is_marked_as_an_illustration(page: Any, tiny_classifier: Classifier) -> None:
    page.get_by_label("Texts to classify").fill("case 7")
    page.get_by_role("button", name="Classify").click()
    page.get_by_role("button", name="Explain").click()
    told = page.locator(".explanation")
    playwright.expect(told).to_contain_text("not the cause of the label")
    playwright.expect(told).to_contain_text("An illustration")
    picture(page, "explanation")


def test_a_table_comes_back_with_labels(page: Any, tiny_classifier: Classifier, tmp_path: Path) -> None:
    rows = [(f"r{n}", f'case "{n}", again\nand again' if n % 2 else f"case {n}") for n in range(70)] + [("bad", "")]
    content = io.StringIO()
    csv.writer(content).writerows([("id", "review"), *rows])
    path = tmp_path / "reviews.csv"
    path.write_bytes(b"\xef\xbb\xbf" + content.getvalue().encode())
    page.locator("#file").set_input_files(path)
    page.get_by_label("Column with the text").select_option("review")
    with page.expect_download() as download:
        page.get_by_role("button", name="Label it").click()
    playwright.expect(page.locator("#table-state")).to_contain_text("71 rows are in reviews.labels.csv; 1 could not")
    picture(page, "table")
    download.value.save_as(tmp_path / "labels.csv")
    with (tmp_path / "labels.csv").open(encoding="utf-8", newline="") as file:
        labelled = list(csv.DictReader(file))
    assert [(row["id"], row["review"]) for row in labelled] == rows
    texts = [text for _, text in rows[:-1]]
    assert [row["label"] for row in labelled[:-1]] == tiny_classifier.predict(texts)
    expected = tiny_classifier.predict_proba(texts)
    for row, row_C in zip(labelled, expected, strict=False):
        assert [float(row[f"p_{name}"]) for name in tiny_classifier.labels.names] == pytest.approx(
            row_C.tolist(), abs=1e-5
        )
    assert labelled[-1]["label"] == "" and "empty" in labelled[-1]["error"]


def test_a_table_is_dropped_and_what_it_lacks_is_told(page: Any) -> None:
    drop = """(text) => {
        const data = new DataTransfer();
        data.items.add(new File([text], "dropped.csv"));
        document.getElementById("drop").dispatchEvent(new DragEvent("drop", {dataTransfer: data, bubbles: true}));
    }"""
    page.get_by_role("button", name="Choose a file").wait_for()
    playwright.expect(page.locator("#choose")).to_be_enabled()
    page.evaluate(drop, "input_text;n\r\ncase 1;2\r\n")
    playwright.expect(page.locator("#table-state")).to_have_text("dropped.csv: 1 rows")
    page.evaluate(drop, "input_text\n")
    playwright.expect(page.get_by_role("alert")).to_contain_text("has no rows")


def test_columns_of_a_template_have_a_field_each(browser: Any, tmp_path: Path) -> None:
    directory = save_tiny(tmp_path / "pairs")
    change(directory / "dhrd.json", input_template="{{ premise }} => {{ hypothesis }}")
    with running(Classifier.from_pretrained(directory, device="cpu", dtype=None)) as server:
        for page in opened(browser, server):
            page.get_by_label("premise").fill("It rains.")
            page.get_by_label("hypothesis").fill("It is wet.")
            page.get_by_role("button", name="Classify").click()
            assert cards(page, 1).locator(".bars li").count() == 3


def test_rows_that_are_not_decided_are_told(
    browser: Any, server: Running, tiny_classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    decide = tiny_classifier.predictions
    monkeypatch.setattr(tiny_classifier, "predictions", lambda part: [replace(one, label=None) for one in decide(part)])
    for page in opened(browser, server):
        page.get_by_label("Texts to classify").fill("case 7")
        page.get_by_role("button", name="Classify").click()
        playwright.expect(cards(page, 1).locator("p.label")).to_have_text("Not decided")


def test_the_decisions_line_stands_on_the_bars_that_it_is_about(browser: Any, server: Running) -> None:
    rules = [
        {"target": {"measure": "accuracy", "level": 0.9, "label": ""}, "threshold": 0.8},
        {"target": {"measure": "recall", "level": 0.7, "label": "login"}, "threshold": 0.6},
    ]

    def decided(route: Any) -> None:
        info = route.fetch().json()
        route.fulfill(json=info | {"decision": {"rules": rules, "confidence": 0.9}})

    context = browser.new_context()
    page = context.new_page()
    page.route("**/info", decided)
    page.goto(str(server.client.base_url))
    playwright.expect(page.locator("#about")).to_contain_text("accuracy at least 0.9, recall of login at least 0.7")
    page.get_by_label("Texts to classify").fill("case 7")
    page.get_by_role("button", name="Classify").click()
    found = {}
    for item in cards(page, 1).locator(".bars li").all():
        lines = item.locator(".line").all()
        found[item.locator(".name").inner_text()] = [line.evaluate("(e) => e.style.left") for line in lines]
    picture(page, "decision")
    context.close()
    first = next(iter(found))
    expected: dict[str, list[str]] = {name: [] for name in found}
    expected[first].append("80%")
    expected["login"].append("40%")
    assert found == expected


def test_each_task_has_its_label_its_bars_and_its_column(browser: Any, tmp_path: Path) -> None:
    classifier = Classifier.from_pretrained(save_tiny(tmp_path / "tiny", labels=TASKS), device="cpu", dtype=None)
    [answer], [p_C] = classifier.predict("case 7"), classifier.predict_proba("case 7")
    assert isinstance(answer, dict)
    (tmp_path / "mail.csv").write_text("input_text\ncase 7\n", encoding="utf-8")
    with running(classifier) as server:
        for page in opened(browser, server):
            told = "Gives one of 3 labels of what: bill, login, mail; any number of 2 labels of tags: even, odd."
            playwright.expect(page.locator("#about")).to_contain_text(told)
            page.get_by_label("Texts to classify").fill("case 7")
            page.get_by_role("button", name="Classify").click()
            card = cards(page, 1)
            names = [f"what/{answer['what']}", *(f"tags/{name}" for name in answer["tags"])]
            assert card.locator("p.label").inner_text() == ", ".join(names)
            assert sorted(card.locator(".bars .chosen .name").all_inner_texts()) == sorted(names)
            for at, columns in enumerate((slice(0, 3), slice(3, 5))):
                own = [f"{100 * p:.1f} %" for p in sorted(p_C[columns])[::-1]]
                assert card.locator(".bars").nth(at).locator(".number").all_inner_texts() == own
            picture(page, "tasks")
            page.locator("#file").set_input_files(tmp_path / "mail.csv")
            with page.expect_download() as download:
                page.get_by_role("button", name="Label it").click()
            [line] = csv.DictReader(io.StringIO(Path(download.value.path()).read_text(encoding="utf-8")))
    assert list(line) == ["input_text", "what/label", "tags/label", "abstained", *(f"p_{name}" for name in TASKS.names)]
    assert (line["what/label"], line["tags/label"]) == (answer["what"], ", ".join(answer["tags"]))


def test_a_key_is_asked_for(browser: Any, tiny_classifier: Classifier) -> None:
    with running(tiny_classifier, key="s3cret") as server:
        for page in opened(browser, server):
            page.get_by_label("This server asks for a key").fill("s3cret")
            page.get_by_role("button", name="Use it").click()
            page.get_by_label("Texts to classify").fill("case 7")
            page.get_by_role("button", name="Classify").click()
            cards(page, 1)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1200])
def test_it_fits_a_phone_and_can_be_read_light_and_dark(browser: Any, server: Running, scheme: str, width: int) -> None:
    for page in opened(browser, server, color_scheme=scheme, viewport={"width": width, "height": 844}):
        page.get_by_label("Texts to classify").fill("a" * 300 + "\n" + "the parcel is late " * 9)
        page.get_by_role("button", name="Classify").click()
        cards(page, 2)
        playwright.expect(page.locator("article .label").first).to_be_in_viewport()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(_CONTRAST) >= 4.5
        heights = page.evaluate("[...document.querySelectorAll('button')].map((b) => b.offsetHeight).filter(Boolean)")
        assert heights and min(heights) >= 40
        picture(page, f"{scheme}-{width}")


_CONTRAST = """() => {
    const light = (color) => color.match(/[0-9.]+/g).slice(0, 3).map((v) => v / 255)
        .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const ground = (e) => {
        const color = getComputedStyle(e).backgroundColor;
        return color === "rgba(0, 0, 0, 0)" ? ground(e.parentElement) : color;
    };
    const texts = [...document.querySelectorAll("p, h1, h2, label, span, button")]
        .filter((e) => e.offsetHeight && e.textContent.trim() && !e.disabled);
    return Math.min(...texts.map((e) => {
        const [a, b] = [light(getComputedStyle(e).color), light(ground(e))].sort((x, y) => y - x);
        return (a + 0.05) / (b + 0.05);
    }));
}"""
"""The least contrast of a text with what is behind it, as WCAG measures it."""
