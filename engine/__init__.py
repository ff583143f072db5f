"""Numbers: pure functions of (spec, arrays, key). Knows nothing of ledgers, files, clocks or environments."""
