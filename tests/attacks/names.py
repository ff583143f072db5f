"""Attacks on the tar around a bundle: names and kinds of members that trick whoever unpacks it, and bombs."""

from __future__ import annotations

import tarfile
from collections.abc import Callable

from audit import ustar
from tests.attacks.attack import Attack, Good

BLOCK, END = ustar.BLOCK, len(ustar.END)
BEFORE = "data/log/heads/1"
HEADER, UNALLOWED = "header field", "name not allowed"


def member(name: str, contents: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = "", **facts: int) -> bytes:
    """Header and contents of a member as tar programs write them; `kind` and `link` make it another than a file."""
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname, info.mtime = len(contents), kind, link, 0
    for fact, value in facts.items():
        setattr(info, fact, value)
    header = info.tobuf(tarfile.USTAR_FORMAT, "utf-8", "surrogateescape")
    return ours(header) + contents + bytes(-len(contents) % BLOCK)


def ours(header: bytes) -> bytes:
    """With the checksum right and, where they say nothing, the numbers as this project writes them."""
    raw = bytearray(header)
    raw[329:345] = b"0000000\0" * 2 if raw[329:345] == bytes(16) else raw[329:345]
    raw[148:156] = b" " * 8
    raw[148:156] = b"%06o\0 " % sum(raw)
    return bytes(raw)


def put(made: Callable[[str], bytes], after: str = BEFORE) -> Callable[[Good], bytes]:
    """The tar with what `made` gives for the bundle's folder after one of its members."""

    def attack(good: Good) -> bytes:
        raw, folder = good.small.tar(), good.small.folder
        at = raw.index(f"{folder}/{after}\0".encode())
        end = at + BLOCK + -(-len(good.small.files[after]) // BLOCK) * BLOCK
        return raw[:end] + made(folder) + raw[end:]

    return attack


def _first(made: bytes) -> Callable[[Good], bytes]:
    return lambda good: made + good.small.tar()


def _pax(name: str) -> bytes:
    record = f"path={name}\n"
    text = f"{len(record) + 3} {record}".encode()
    return member("PaxHeaders/x", text, tarfile.XHDTYPE) + member("x", b"x")


def _sparse_bomb(folder: str) -> bytes:
    """A GNU sparse file of 8 GiB that takes no room: what it grows to is in fields that ustar does not have."""
    header = bytearray(member(f"{folder}/data/log/heads/1zeros", kind=tarfile.GNUTYPE_SPARSE))
    header[483:495] = b"77777777777\0"
    return ours(bytes(header))


def _size_bomb(folder: str) -> bytes:
    return member(f"{folder}/data/log/heads/1large", b"")[:124] + b"77777777777\0" + bytes(BLOCK - 136)


def _declared(folder: str) -> bytes:
    return ours(_size_bomb(folder)[:136] + member(f"{folder}/data/log/heads/1large")[136:])


def _cut(good: Good) -> bytes:
    return good.small.tar()[: -END - 5 * BLOCK]


def _no_end(good: Good) -> bytes:
    return good.small.tar()[:-END]


def _appended(good: Good) -> bytes:
    return good.small.tar() + member("later", b"x") + bytes(END)


def _padding(good: Good) -> bytes:
    raw = good.small.tar()
    at = raw.index(good.small.files["bagit.txt"]) + 40
    return raw[: at + 20] + b"hidden" + raw[at + 26 :]


ESCAPE = "a file of its choice, anywhere on the disk of who unpacks the bundle"
TWO = "two programs that read two different bundles in one file"
NAMES = (
    Attack(
        "path_traversal",
        put(lambda folder: member(f"{folder}/data/../../../evil", b"x")),
        (UNALLOWED, "../evil"),
        "added a member whose name climbs out of the folder.",
        ESCAPE,
    ),
    Attack(
        "absolute_name",
        _first(member("/tmp/evil", b"x")),
        (UNALLOWED, "tmp/evil"),
        "added a member with an absolute name.",
        ESCAPE,
    ),
    Attack(
        "symbolic_link",
        put(lambda folder: member(f"{folder}/data/log/heads/1link", kind=tarfile.SYMTYPE, link="/etc/passwd")),
        (HEADER, "data/log/heads/1link"),
        "added a symbolic link.",
        "a later member written through it, or a secret read through it",
    ),
    Attack(
        "hard_link",
        put(lambda f: member(f"{f}/data/log/heads/1link", kind=tarfile.LNKTYPE, link="/etc/passwd")),
        (HEADER, "data/log/heads/1link"),
        "added a hard link.",
        "a second name for a file outside",
    ),
    Attack(
        "device",
        put(lambda f: member(f"{f}/data/log/heads/1null", kind=tarfile.CHRTYPE, devmajor=1, devminor=3)),
        (HEADER, "data/log/heads/1null"),
        "added a character device.",
        "a device in the hands of whoever unpacks as root",
    ),
    Attack(
        "named_pipe",
        put(lambda folder: member(f"{folder}/data/log/heads/1pipe", kind=tarfile.FIFOTYPE)),
        (HEADER, "data/log/heads/1pipe"),
        "added a named pipe.",
        "a reader that waits for ever",
    ),
    Attack(
        "directory_member",
        put(lambda folder: member(f"{folder}/data/log/heads/1sub/", kind=tarfile.DIRTYPE)),
        ("data/log/heads/1sub",),
        "added a directory: a bundle has none.",
        "modes and owners of its choice",
    ),
    Attack(
        "case_folded_name",
        put(lambda folder: member(f"{folder}/data/log/HEADS/2", b"9"), "data/expected.sha256"),
        ("no name like", "heads/0"),
        "added a name that differs from another in case only.",
        "another file than the one that was checked, on a disk that folds case",
    ),
    Attack(
        "duplicate_name",
        put(lambda folder: member(f"{folder}/{BEFORE}", b"9")),
        (UNALLOWED, "heads/1"),
        "added a second member of the same name.",
        TWO,
    ),
    Attack(
        "unsorted_names",
        put(lambda folder: member(f"{folder}/data/a", b"x")),
        (UNALLOWED, "data/a"),
        "added a member out of order.",
        "other bytes for the same contents",
    ),
    Attack(
        "file_and_folder",
        put(lambda folder: member(f"{folder}/{BEFORE}/x", b"x")),
        (UNALLOWED, "heads/1/x"),
        "added a member below another that is a file.",
        TWO,
    ),
    Attack(
        "unicode_name",
        put(lambda folder: member(f"{folder}/data/log/heads/1re\u0301sume\u0301.csv", b"x")),
        (UNALLOWED, "sume"),
        "added a name in decomposed Unicode (NFD), which other systems write composed (NFC).",
        "one name for two files, or two for one",
    ),
    Attack(
        "dot_name",
        put(lambda folder: member(f"{folder}/data/log/heads/./2", b"x")),
        (UNALLOWED, "heads/./2"),
        "added a name with '.' in it.",
        "a second name for a file",
    ),
    Attack(
        "long_name",
        put(lambda folder: member("././@LongLink", f"{folder}/../evil\0".encode(), tarfile.GNUTYPE_LONGNAME)),
        ("@LongLink",),
        "put a GNU long-name record before a member.",
        TWO,
    ),
    Attack(
        "pax_name",
        put(lambda folder: _pax(f"{folder}/../evil")),
        ("PaxHeaders/x",),
        "put a pax record with another name before a member.",
        TWO,
    ),
    Attack(
        "tar_bomb",
        put(_declared),
        ("data/log/heads/1large", "cut short"),
        "added a member that says it has 8 GiB, of which none are there.",
        "the memory or disk of whoever believes it",
    ),
    Attack(
        "sparse_bomb",
        put(_sparse_bomb),
        (HEADER, "the one form of a plain file"),
        "added a sparse member of 512 bytes that grows to 8 GiB.",
        "the disk of whoever unpacks it",
    ),
    Attack(
        "cut_bundle",
        _cut,
        ("tar cut short", "manifest-sha256.txt"),
        "cut off the end of the tar.",
        "silence about the rest",
    ),
    Attack("no_end", _no_end, ("verify.html",), "cut off the two blocks that end a tar.", "room for more members"),
    Attack(
        "appended_tar",
        _appended,
        ("tar does not end here", "verify.html"),
        "appended a second archive behind the end.",
        TWO,
    ),
    Attack(
        "hidden_in_padding",
        _padding,
        ("padding is not zero", "bagit.txt"),
        "wrote into the padding behind a file, which no digest covers.",
        "a message, or a difference, in bytes that are taken for verified",
    ),
)
