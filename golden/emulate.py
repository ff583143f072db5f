"""The smallest case on a CPU that is not there: Debian's qemu-user runs the interpreter, instruction by instruction.

Everything happens in one process: a process that an emulated one starts would be native. For the same reason the
environment is put into the determinism profile before the emulator starts, not inside it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from time import monotonic

from audit.errors import Unavailable
from engine import precision
from golden.case import HERE

SMALLEST = "break"
EMULATOR = "qemu-x86_64"


def emulate(cpu: str, cases: Sequence[str]) -> int:
    """`check` of `cases` under an emulated `cpu`; its exit code. Unavailable: there is no emulator."""
    emulator = shutil.which(EMULATOR)
    if emulator is None:
        raise Unavailable(f"cannot emulate a CPU: no {EMULATOR}; on Debian: apt-get install qemu-user", EMULATOR)
    chosen = [argument for case in cases for argument in ("--case", case)]
    command = [emulator, "-cpu", f"{cpu},check=off", sys.executable, "-m", "golden", "check", "--workers", "0", *chosen]
    start = monotonic()
    environ = precision.environment(os.environ) | {"PYTHONPATH": str(HERE.parent)}
    code = subprocess.run(command, env=environ, stdin=subprocess.DEVNULL, check=False).returncode
    print(f"emulated {cpu}: {monotonic() - start:.0f} s", file=sys.stderr)
    if code < 0 or code > 2:
        raise Unavailable("the emulated check did not finish", cpu, "exit code 0 to 2", code)
    return code
