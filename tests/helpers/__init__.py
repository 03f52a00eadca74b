"""What tests share: tiny models, in-memory tokenizers, rows, runs, endpoints."""
