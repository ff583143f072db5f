"""A writer to be killed: a process with everything loaded, which forks one child for each append.

Commands come as lines on standard input, `HOME DATABASE CONTENT...` ("-": the file in HOME); the child says its number,
waits for a line, appends, and says how it ended: `done SEQ...` or `failed CLASS EXIT_CODE MESSAGE`. A content that ends
in "*" stands for a loop: one append after the other, each acknowledged by a line `done SEQ`.

It speaks by writev, which the ledger never calls, so that whoever injects faults into write does not garble it.
"""

from __future__ import annotations

import os
import sys
from itertools import count
from pathlib import Path

from ledger_case import KEY, stages

from audit.errors import AuditError
from audit.home import Home


def say(*words: object) -> None:
    os.writev(1, [(" ".join(map(str, words)) + "\n").encode()])


def append(home: Home, contents: list[str]) -> None:
    if contents[0].endswith("*"):
        for number in count():
            (receipt,) = home.writer(KEY).append(stages(f"{contents[0]}{number}"))
            say("done", receipt.seq)
    receipts = home.writer(KEY).append(stages(*contents))
    say("done", *(receipt.seq for receipt in receipts))


def child(words: list[str]) -> None:
    home = Home(Path(words[0]), None if words[1] == "-" else words[1])
    say("child", os.getpid())
    sys.stdin.readline()
    try:
        append(home, words[2:])
    except AuditError as error:
        say("failed", type(error).__name__, error.exit_code, error)
    except BaseException as error:
        say("failed", type(error).__name__, -1, repr(error).replace("\n", " "))


def main() -> None:
    say("ready")
    while line := sys.stdin.readline():
        pid = os.fork()
        if pid == 0:
            child(line.split())
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        say("ended", os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
