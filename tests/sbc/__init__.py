"""Simulation-based calibration: truths from the prior, outcomes from the truths, ranks of the truths among the draws."""
