"""Pages that are run: every command of a tutorial gives what the page shows, numbers apart."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = sorted((DOCS / "tutorials").glob("*.md"))


@pytest.fixture
def tutorials(repository: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(repository / "scripts")
    sys.modules.pop("tutorials", None)
    import tutorials  # type: ignore[import-not-found]

    return tutorials


def test_they_are_numbered() -> None:
    assert len(PAGES) == 5
    assert [page.name.partition("-")[0] for page in PAGES] == [str(number) for number in range(1, len(PAGES) + 1)]


def test_one_after_the_other_they_train_where_nothing_is_yet() -> None:
    """As somebody does who follows them in one directory, after the README and the first five commands."""
    texts = [path.read_text(encoding="utf-8") for path in (DOCS.parent / "README.md", DOCS / "get-started.md", *PAGES)]
    readme, started, *tutorials = texts
    assert "--config configs/csv.yaml\n" in started, "that is `output`, by the config"
    named = ["output", *re.findall(r'output_dir="(\w+)"', readme)]
    for text in tutorials:
        runs = re.findall(r"^dhrd train .*", text.replace("\\\n", ""), re.MULTILINE)
        named += [place for run in runs for place in re.findall(r"--output-dir (\w+)", run)]
        assert all("--output-dir" in run for run in runs)
    assert len(named) == len(set(named)) == 10, named


@pytest.mark.parametrize("page", [*PAGES, DOCS / "coming-from.md"], ids=lambda page: page.stem)
def test_a_page_gives_what_it_shows(page: Path, tutorials: ModuleType, commands: Path, tmp_path: Path) -> None:
    text = page.read_text(encoding="utf-8")
    if "curl " in text and shutil.which("curl") is None:
        pytest.skip("the page calls curl, which is not here")
    outputs = tutorials.run(text, tmp_path, commands)
    assert len(outputs) >= 4
    if found := tutorials.differences(text, outputs):
        pytest.fail("\n".join([*found, "python scripts/tutorials.py --write docs/tutorials/*.md"]))


PAGE = """
```sh
echo "3 rows, accuracy 0.5"; x=1
```

```text
7 rows, accuracy 0.25
```

<!-- not run: it costs money -->
```sh
exit 1
```

```python
print("first"); print("middle"); print("last")
```

```text
first
…
last
```

```sh
echo "x is $x here"
```
"""


def test_outputs_are_held_against_the_page(tutorials: ModuleType, tmp_path: Path) -> None:
    outputs = tutorials.run(PAGE, tmp_path)
    assert outputs == ["3 rows, accuracy 0.5\n", "first\nmiddle\nlast\n", "x is 1 here\n"]
    assert tutorials.differences(PAGE, outputs) == []
    for wrong in (PAGE.replace("7 rows", "7 lines"), PAGE.replace("\nlast\n", "\nend\n")):
        assert len(tutorials.differences(wrong, outputs)) == 1
    renewed = tutorials.written(PAGE, outputs)
    assert renewed == PAGE.replace("7 rows, accuracy 0.25", "3 rows, accuracy 0.5")


def test_a_block_that_fails_is_shown(tutorials: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)ls nowhere\n\nfailed:\n.*nowhere"):
        tutorials.run("```sh\necho well\n```\n\n```sh\nls nowhere\n```\n", tmp_path)
