"""How good answers are, and whether one model is better than another: numpy alone, no model and no torch."""
