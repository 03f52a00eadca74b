"""From finished cells to a report: `summary` makes the numbers, `render` the files."""
