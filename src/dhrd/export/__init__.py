"""A classifier in another format, beside the proof that it answers alike."""
