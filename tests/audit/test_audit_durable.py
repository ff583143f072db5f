"""Laws of small files: whole or not there, whatever fails, and nothing else is followed or read."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from audit import durable
from audit.errors import Malformed, Unavailable


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "file"


@pytest.fixture(autouse=True)
def folder(path: Path) -> None:
    path.parent.mkdir()


def test_a_file_is_created_once(path: Path) -> None:
    durable.create(path, b"first", 0o600)
    durable.create(path, b"second")
    assert path.read_bytes() == b"first"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]


def test_a_file_is_replaced(path: Path) -> None:
    for data in (b"first", b"second", b""):
        durable.replace(path, data)
        assert durable.read(path, 10) == data
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]


@pytest.mark.parametrize("call", ["open", "fsync", "link", "replace", "write"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_write_that_fails_leaves_the_old_file_and_no_draft(
    path: Path, call: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    durable.replace(path, b"old")

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number))

    if call == "write":
        monkeypatch.setattr(os, "fdopen", fail)
    else:
        monkeypatch.setattr(os, call, fail)
    with pytest.raises(Unavailable, match="cannot write"):
        durable.create(path.with_name("new"), b"new") if call == "link" else durable.replace(path, b"new")
    monkeypatch.undo()
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]
    assert path.read_bytes() == b"old"


def test_the_name_is_on_disk_before_the_call_returns(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    real = {name: getattr(os, name) for name in ("fsync", "link", "replace")}

    def note(name: str) -> Any:
        def call(*arguments: Any, **more: Any) -> Any:
            what = "folder" if name == "fsync" and stat.S_ISDIR(os.fstat(arguments[0]).st_mode) else name
            order.append(what)
            return real[name](*arguments, **more)

        return call

    for name in real:
        monkeypatch.setattr(os, name, note(name))
    durable.replace(path, b"data")
    assert order[0] == "fsync"
    assert order[-1] == "folder"
    assert len(order) == 3
    order.clear()
    durable.create(path.with_name("other"), b"data")
    assert order == ["fsync", "link", "folder"]


def test_what_is_missing_is_none_and_what_is_no_file_is_refused(path: Path) -> None:
    assert durable.read(path, 10) is None
    path.write_bytes(b"0123456789")
    assert durable.read(path, 10) == b"0123456789"
    with pytest.raises(Malformed, match="too long"):
        durable.read(path, 9)
    link = path.with_name("link")
    for target in (path, path.with_name("nowhere")):
        link.symlink_to(target)
        with pytest.raises(Malformed):
            durable.read(link, 10)
        link.unlink()
    os.mkfifo(link)
    with pytest.raises(Malformed):
        durable.read(link, 10)
    with pytest.raises(Malformed):
        durable.read(path.parent, 10)


def test_a_link_is_replaced_not_followed(path: Path) -> None:
    target = path.with_name("target")
    target.write_bytes(b"target")
    path.symlink_to(target)
    durable.create(path, b"new")
    durable.replace(path, b"new")
    assert target.read_bytes() == b"target"
    assert path.read_bytes() == b"new"
