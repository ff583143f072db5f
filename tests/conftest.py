"""The suite runs in the determinism profile, whatever the environment it is started from."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from engine import precision

ROOT = Path(__file__).resolve().parent.parent


def pytest_configure(config: pytest.Config) -> None:
    """Starts pytest again inside the profile if it is outside; libraries read their settings at start-up only."""
    if precision.in_profile(os.environ):
        capture = config.pluginmanager.getplugin("capturemanager")
        if capture is not None:
            capture.suspend_global_capture(in_=True)  # or the new process would write into the old one's capture
        arguments = ["-m", "pytest", *config.invocation_params.args]
        os.execve(sys.executable, [sys.executable, *arguments], precision.environment(os.environ))
    precision.enter(os.environ, sys.modules)
    precision.compilation_cache(ROOT / ".noptik" / "test-cache")
