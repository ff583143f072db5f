"""Evidence: canonical bytes, digests, a Merkle log, signatures and verdicts. Knows nothing of forecasting."""
