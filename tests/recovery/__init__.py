"""Whether fits find what simulated worlds are made of, for every class of model: `python -m tests.recovery.run`."""
