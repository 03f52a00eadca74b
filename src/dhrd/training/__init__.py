"""Training: from a model and rows to trained weights, with checkpoints and trackers."""
