"""Simulation-based calibration: truths from the prior, outcomes from them, ranks of the truths among the draws."""
