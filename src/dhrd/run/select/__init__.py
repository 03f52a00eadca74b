"""Which rows of a pool to label next: active learning."""
