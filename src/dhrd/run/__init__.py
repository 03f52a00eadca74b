"""The verbs: train, evaluate, decide and so on, a file or package each. Start with `train.py`."""
