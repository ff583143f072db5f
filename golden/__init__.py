"""Committed cases with their expected bytes; `check` re-executes and compares, `update` regenerates with a reason."""
