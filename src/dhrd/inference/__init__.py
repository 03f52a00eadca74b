"""Inference: the classifier, the reasoning head, and a cascade of the two."""
