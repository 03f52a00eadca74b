"""An artifact trained on with new rows, judged before it takes its place."""
