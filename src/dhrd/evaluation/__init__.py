"""Evaluation of a model or an artifact on labelled rows."""
