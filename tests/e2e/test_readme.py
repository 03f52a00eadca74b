"""The README's program runs as it is written there: two classifiers, the gain of the second, and its answer."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from helpers.runs import environment


def program_of(repository: Path) -> str:
    text = (repository / "README.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    return program


def output_of(program: str, repository: Path, commands: Path, directory: Path) -> list[str]:
    """The lines that it prints, run in a directory where the repository's configs are."""
    (directory / "configs").symlink_to(repository / "configs")
    (directory / "program.py").write_text(program, encoding="utf-8")
    command = [commands / "python", "program.py"]
    done = subprocess.run(command, cwd=directory, env=environment(), capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_program_of_the_readme(repository: Path, commands: Path, tmp_path: Path) -> None:
    program = program_of(repository)
    assert len([line for line in program.splitlines() if line]) < 10
    labels, reasons, answer = output_of(program, repository, commands, tmp_path)
    assert labels.startswith("labels ") and reasons.startswith("reasons ")
    assert float(reasons.split()[1]) > float(labels.split()[1]) + 0.05 > 0.5  # always the commonest label: 0.31
    assert answer in {f"['{label}']" for label in ("refund", "exchange", "store_credit", "decline")}


def test_it_runs_a_second_time(repository: Path, commands: Path, tmp_path: Path) -> None:
    short = re.sub(r"rows=\d+", "rows=60", program_of(repository))
    assert short.count("rows=60") == 2
    lines = output_of(f"for _ in range(2):\n    exec({short!r})", repository, commands, tmp_path)
    assert lines[:3] == lines[3:], "the same run, to the same answer"


def test_it_names_the_two_commands(repository: Path) -> None:
    text, makefile = ((repository / name).read_text(encoding="utf-8") for name in ("README.md", "Makefile"))
    (commands,) = re.findall(r"## Two commands\n\n```sh\n(.*?)```", text, re.DOTALL)
    assert [line.partition("#")[0].strip() for line in commands.splitlines()] == ["make quickstart", "make test"]
    for name in ("quickstart", "test"):
        assert re.search(rf"^{name}:", makefile, re.MULTILINE)
