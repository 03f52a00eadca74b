"""When a classifier answers and when it abstains, and what that is known to hold: numpy and scipy, no torch."""
