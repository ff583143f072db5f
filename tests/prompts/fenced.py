"""Run by the interpreter of `.prompts`: `python -m registry` with every way out of the machine blocked.

Also with warnings of what DSPy imports kept apart: it is not ours. Prints, last, whether LiteLLM was imported.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def refuse(event: str, arguments: tuple[Any, ...]) -> None:
    """Ends the process at the first look beyond loopback: an exception could be caught."""
    if event in ("socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"):
        host = arguments[0] if event.startswith("socket.get") else arguments[1]
        host = host[0] if isinstance(host, tuple) else host
        if host not in LOOPBACK:
            sys.__stderr__.write(f"blocked: {event} {host!r}\n")
            sys.__stderr__.flush()
            import os

            os._exit(77)


if __name__ == "__main__":
    sys.addaudithook(refuse)
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from registry.cli import main

    code = main(sys.argv[1:])
    print("litellm imported" if "litellm" in sys.modules else "litellm not imported")
    sys.exit(code)
