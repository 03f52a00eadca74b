"""`dhrd` without arguments (the commands to start with) and `dhrd --help` (all commands under headings)."""

from __future__ import annotations

import sys
from typing import Any

from typer.core import TyperGroup

from dhrd._terminal import say

FIRST = {
    "init": "dhrd init rows.csv",
    "train": "dhrd train --config config.yaml",
    "evaluate": "dhrd evaluate --model output --data test.csv",
    "predict": "dhrd predict --model output --input new.csv --output labels.csv",
    "serve": "dhrd serve --model output",
}
"""Example calls, by command, of the steps from a file of rows to a classifier in use."""

USE = "From rows to a classifier in use"
JUDGE = "How good it is, and when to trust it"
ROWS = "Labels and rationales"
OTHER = "Settings, other formats, the paper"


class Overview(TyperGroup):
    """The `dhrd` command group, listed by heading; a command's heading is its `rich_help_panel`."""

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """Without arguments, print the commands to start with and exit with 2, as for a usage error."""
        if not args and not ctx.resilient_parsing:
            say(*self._first_lines(), file=sys.stderr)
            ctx.exit(2)
        return super().parse_args(ctx, args)

    def _first_lines(self) -> list[str]:
        width = max(map(len, FIRST.values()))
        lines = [
            f"  {call:{width}}  {self.commands[name].get_short_help_str(200)}"
            for name, call in FIRST.items()  # wide enough that nothing is truncated
        ]
        return [
            "Dual-Head Reasoning Distillation. To get started:",
            *lines,
            "All commands: dhrd --help; options of a command: dhrd COMMAND --help",
        ]

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write all commands by heading, in order of registration."""
        width = max(map(len, self.commands))
        sections: dict[str, list[tuple[str, str]]] = {heading: [] for heading in (USE, ROWS, JUDGE, OTHER)}
        for name, command in self.commands.items():
            heading: Any = getattr(command, "rich_help_panel", None)
            summary = command.get_short_help_str(formatter.width - 6 - width)
            sections[heading if heading in sections else OTHER].append((name.ljust(width), summary))
        for heading, rows in ((heading, rows) for heading, rows in sections.items() if rows):
            with formatter.section(heading):
                formatter.write_dl(rows)
