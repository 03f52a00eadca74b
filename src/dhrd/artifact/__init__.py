"""The artifact: a directory that transformers, vLLM and dhrd can load as it is."""
