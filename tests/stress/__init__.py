"""Worlds that a model is not made for, each with the finding that must be raised: `python -m tests.stress.run`."""
