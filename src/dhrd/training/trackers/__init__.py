"""Where logged numbers go: metrics.jsonl always; trackers and callbacks when asked for."""
