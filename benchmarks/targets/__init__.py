"""The targets table: the default model on real traces with real faults, beside plain rules on the same traces.

`python -m benchmarks.targets` cuts the minutes of each system into blocks of time, trains on the normal traces of all
blocks but one, and tries the model on that one. Nothing of a test minute is seen in training.
"""
