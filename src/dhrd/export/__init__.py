"""Exporting a classifier to other runtimes, with a verification report."""
