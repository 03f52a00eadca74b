"""`predict` on a cluster of Ray."""
