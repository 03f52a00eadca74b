"""A model or an artifact over labelled rows: what it answers, and how good that is."""
