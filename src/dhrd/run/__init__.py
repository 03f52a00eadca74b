"""Train, evaluate, decide: a file a verb, and a room where a verb has several. Read `train.py` first."""
