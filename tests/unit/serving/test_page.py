"""The page asks nobody but its own server, and its headers hold it to that."""

from __future__ import annotations

import re

from dhrd.serving.page import page_headers, page_text


def test_the_page_is_one_file() -> None:
    text = page_text()
    assert not re.findall(r"""(?:src|href)=["'](?!data:)|@import|url\(|https?://""", text)
    assert text.count("<script>") == text.count("<style>") == 1
    assert 'name="viewport"' in text and "prefers" not in text and "light-dark(" in text


def test_markup_of_a_row_is_never_markup_of_the_page() -> None:
    assert not re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", page_text())


def test_only_its_own_script_and_styles_run() -> None:
    policy = page_headers()["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
    assert len(re.findall(r"'sha256-[A-Za-z0-9+/]{43}='", policy)) == 2
