"""The model: a backbone of transformers with two heads, and what it is read from."""
