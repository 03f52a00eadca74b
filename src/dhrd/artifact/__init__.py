"""The artifact: one directory that transformers, vLLM and dhrd read as it is."""
