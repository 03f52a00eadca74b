"""`predict` on a Ray cluster."""
