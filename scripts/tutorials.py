"""Run a page: its blocks of shell and Python, in their order, in one empty directory, as a reader would.

    python scripts/tutorials.py docs/tutorials/*.md            say where a page shows other output than it gives
    python scripts/tutorials.py --write docs/tutorials/*.md    write what it gives

A block of `sh` or `python` is run, all of a page's in one shell, so that a server may stay in the background; one after
a comment `<!-- not run: WHY -->` is not. A block of `text` right behind it is its output, where a line `…` stands for
any lines. Numbers differ from machine to machine, so outputs are compared without them.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OF_A_CLONE = ("configs", "examples", "docs")
"""What a reader has in the directory that the commands are run in."""
MAX_SECONDS = 1800
"""A page that waits for what does not come ends after so long."""
_MARK = "\x1e"
_BLOCK = re.compile(
    r"(?P<skip><!-- not run: [^\n]*-->\n+)?^```(?P<language>sh|python)\n(?P<code>.*?)^```$"
    r"(?:\n+```text\n(?P<output>.*?)^```$)?",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Block:
    """A block that is run.

    Args:
        language: `sh` or `python`.
        code: What is run.
        output: What the page says that it gives; None where it says nothing.
    """

    language: str
    code: str
    output: str | None


def blocks(page: str) -> list[Block]:
    """A page's blocks that are run, in order."""
    return [Block(m["language"], m["code"], m["output"]) for m in _BLOCK.finditer(page) if not m["skip"]]


def run(page: str, directory: Path, commands: Path = Path(sys.executable).parent) -> list[str]:
    """What each block of a page gives, standard error among it.

    Args:
        page: Its text.
        directory: An empty one; the blocks are run there.
        commands: Where `dhrd` and `python` are.

    Raises:
        RuntimeError: A block fails; with its code and what it said.
    """
    for name in OF_A_CLONE:
        (directory / name).symlink_to(ROOT / name)
    parts = blocks(page)
    script = ["set -e", "trap 'kill $(jobs -p) 2> /dev/null || true' EXIT"]
    for number, block in enumerate(parts):
        script += [_shell(block, number), f"printf '{_MARK}'"]
    command = ["bash", "-c", "\n".join(script)]
    told = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "timeout": MAX_SECONDS}
    done = subprocess.run(command, cwd=directory, env=_environment(commands), **told)
    outputs = done.stdout.decode().split(_MARK)
    if done.returncode != 0:
        raise RuntimeError(f"{parts[len(outputs) - 1].code}\nfailed:\n{outputs[-1]}")
    return outputs[:-1]


def _shell(block: Block, number: int) -> str:
    if block.language == "sh":
        return block.code
    return f"cat > .block{number}.py <<'END_OF_BLOCK'\n{block.code}END_OF_BLOCK\npython .block{number}.py"


def _environment(commands: Path) -> dict[str, str]:
    """These commands first, one thread, no network, no progress bars, tables of a page's width."""
    places = os.pathsep.join([str(commands), os.environ["PATH"]])
    fixed = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1", "COLUMNS": "100"}
    return {**os.environ, **fixed, "PATH": places, "PYTHONPATH": str(ROOT / "src")}


def agrees(shown: str, given: str) -> bool:
    """Whether an output is the one that a page shows, numbers apart."""
    parts = [re.escape(_masked(part)) for part in re.split(r"^…$", shown, flags=re.MULTILINE)]
    return re.fullmatch(".*".join(parts), _masked(given), re.DOTALL) is not None


def _masked(text: str) -> str:
    """Numbers, and the spaces and lines that are as wide as they, by one sign each."""
    text = re.sub(r"[+−-]?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?|\.\d+", "#", text)
    return " ".join(re.sub(r"([─━-])\1+", r"\1", text).split())


def differences(page: str, outputs: list[str]) -> list[str]:
    """The blocks whose output the page does not show as it is, each with both."""
    pairs = zip(blocks(page), outputs, strict=True)
    return [
        f"{block.code}\nshown:\n{block.output}\ngiven:\n{given}"
        for block, given in pairs
        if block.output is not None and not agrees(block.output, given)
    ]


def written(page: str, outputs: list[str]) -> str:
    """A page with the outputs that its blocks gave; one that is shown in parts is kept where it agrees."""
    left = iter(outputs)

    def filled(match: re.Match[str]) -> str:
        if match["skip"]:
            return match[0]
        given = next(left)
        if match["output"] is None or ("…\n" in match["output"] and agrees(match["output"], given)):
            return match[0]
        return match[0].replace(f"```text\n{match['output']}```", f"```text\n{_tidy(given)}```")

    return _BLOCK.sub(filled, page)


def _tidy(text: str) -> str:
    lines = [line.rstrip() for line in text.strip("\n").splitlines()]
    return "\n".join([*lines, ""])


def main(arguments: list[str]) -> None:
    for name in (name for name in arguments if name != "--write"):
        path = Path(name)
        page = path.read_text(encoding="utf-8")
        with tempfile.TemporaryDirectory() as directory:
            outputs = run(page, Path(directory))
        if "--write" in arguments:
            path.write_text(written(page, outputs), encoding="utf-8")
        elif found := differences(page, outputs):
            sys.exit(f"{path}:\n" + "\n".join(found))


if __name__ == "__main__":
    main(sys.argv[1:])
