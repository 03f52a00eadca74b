"""How good answers are, and whether one model is better than another: no model and no torch."""
