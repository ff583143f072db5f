"""One file per DVC stage: read, call the engine, write, state."""
