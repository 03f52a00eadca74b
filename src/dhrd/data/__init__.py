"""From files to rows, and from rows to the tokens and batches of a run."""
