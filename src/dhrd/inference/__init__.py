"""From text to labels: the classifier, its reasoning head, and the two together."""
