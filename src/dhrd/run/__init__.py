"""Train, evaluate, predict: a file a verb. Read `train.py` first."""
