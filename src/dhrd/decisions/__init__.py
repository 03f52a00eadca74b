"""When a classifier answers or abstains, and the guarantees of that; uses numpy and scipy, not torch."""
