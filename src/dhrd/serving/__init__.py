"""Serving a classifier over HTTP (`dhrd serve`). Needs the extra `serve`."""
