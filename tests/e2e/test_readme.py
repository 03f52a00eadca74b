"""The README's program runs as it is written there: a classifier, how good it is, and its answer."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from helpers.runs import environment


def test_the_program_of_the_readme(repository: Path, commands: Path, tmp_path: Path) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", (repository / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len([line for line in program.splitlines() if line]) < 10
    (tmp_path / "configs").symlink_to(repository / "configs")
    (tmp_path / "program.py").write_text(program, encoding="utf-8")
    command = [commands / "python", "program.py"]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr
    accuracy, answer = done.stdout.splitlines()
    assert float(accuracy) > 0.65  # always the commonest label: 0.28 to 0.31
    assert answer in {f"['{label}']" for label in ("refund", "exchange", "store_credit", "decline")}


def test_it_names_the_two_commands(repository: Path) -> None:
    text, makefile = ((repository / name).read_text(encoding="utf-8") for name in ("README.md", "Makefile"))
    (commands,) = re.findall(r"## Two commands\n\n```sh\n(.*?)```", text, re.DOTALL)
    assert [line.partition("#")[0].strip() for line in commands.splitlines()] == ["make quickstart", "make test"]
    for name in ("quickstart", "test"):
        assert re.search(rf"^{name}:", makefile, re.MULTILINE)
