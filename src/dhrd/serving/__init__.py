"""A classifier behind HTTP: `dhrd serve`. Needs the extra `serve`."""
