"""The Merkle tree of RFC 6962: roots, proofs and their verification. Pure; hashes in, hashes out.

Glossary
--------
leaf hash          SHA256(0x00 || data); the 0x00 keeps a leaf from passing for a node
node hash          SHA256(0x01 || left || right)
size               the number of leaves; the tree of size 0 has root SHA256("")
inclusion proof    the siblings on the way from one leaf up to the root of a size
consistency proof  the nodes from which both the root of an old size and of a new size can be rebuilt:
                   nothing of the old tree was changed

Example: with leaves a b c, root = node(node(a, b), c); the inclusion proof of b is (a, c), that of c is
(node(a, b),). Here a tree is built level by level, each level pairing the one below; an odd last node is
carried up as it is, which gives the same tree as the RFC's recursive split at the largest power of two.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from audit.errors import BadProof, Usage

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()  # RFC 6962 2.1: MTH({})
Hash = bytes


def leaf_hash(data: bytes) -> Hash:
    """The hash of a leaf that holds `data` (RFC 6962 2.1)."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: Hash, right: Hash) -> Hash:
    """The hash of the node over `left` and `right` (RFC 6962 2.1)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root(leaf_hashes: Sequence[Hash]) -> Hash:
    """The root of the tree over `leaf_hashes` (RFC 6962 2.1)."""
    level = list(leaf_hashes)
    if not level:
        return EMPTY_ROOT
    while len(level) > 1:
        level = _above(level)
    return level[0]


def inclusion_proof(leaf_hashes: Sequence[Hash], index: int, size: int) -> tuple[Hash, ...]:
    """The proof (RFC 6962 2.1.1) that leaf `index` is in the tree of the first `size` leaves.

    0 <= index < size <= len(leaf_hashes), or Usage.
    """
    if not 0 <= index < size <= len(leaf_hashes):
        raise Usage("no such inclusion proof", "", f"0 <= index < size <= {len(leaf_hashes)}", f"{index}, {size}")
    return _path(list(leaf_hashes[:size]), index)


def consistency_proof(leaf_hashes: Sequence[Hash], size1: int, size2: int) -> tuple[Hash, ...]:
    """The proof (RFC 6962 2.1.2) that the tree of size1 leaves is a prefix of that of size2.

    1 <= size1 <= size2 <= len(leaf_hashes), or Usage. Empty when the sizes are equal.
    """
    if not 1 <= size1 <= size2 <= len(leaf_hashes):
        raise Usage(
            "no such consistency proof",
            "",
            f"1 <= size1 <= size2 <= {len(leaf_hashes)}",
            f"{size1}, {size2}",
        )
    if size1 == size2:
        return ()
    # The last complete subtree of the old tree, at level `shift`, is a node of both trees: the proof is its
    # path in the new one, preceded by itself unless it is the whole old tree, whose root the verifier has.
    shift = _trailing_zeros(size1)
    level = list(leaf_hashes[:size2])
    for _ in range(shift):
        level = _above(level)
    at = (size1 - 1) >> shift
    seed = () if at == 0 else (level[at],)
    return seed + _path(level, at)


def verify_inclusion(leaf: Hash, index: int, size: int, proof: Sequence[Hash], root: Hash) -> None:
    """Returns only if `proof` leads from `leaf`, the hash at `index`, to the `root` of `size` leaves.

    BadProof otherwise (RFC 6962 2.1.1).
    """
    if not 0 <= index < size:
        raise BadProof("leaf index outside the tree", "inclusion proof", f"0 <= index < {size}", index)
    _require_hashes("inclusion proof", leaf, root, *proof)
    inner, border = _decompose(index, size)
    _require_length("inclusion proof", inner + border, len(proof))
    found = _chain_inner(leaf, proof[:inner], index)
    found = _chain_border(found, proof[inner:])
    _require_root("inclusion proof", root, found)


def verify_consistency(size1: int, size2: int, root1: Hash, root2: Hash, proof: Sequence[Hash]) -> None:
    """Returns only if `proof` shows the tree (size1, root1) to be a prefix of (size2, root2).

    BadProof otherwise (RFC 6962 2.1.2), and for size1 = 0: everything is consistent with the empty tree, so a
    proof about it says nothing; the protocol above decides what size 0 means.
    """
    where = "consistency proof"
    if not 1 <= size1 <= size2:
        raise BadProof("sizes out of order", where, "1 <= size1 <= size2", f"{size1}, {size2}")
    _require_hashes(where, root1, root2, *proof)
    if size1 == size2:
        _require_length(where, 0, len(proof))
        _require_root(where, root1, root2)
        return
    shift = _trailing_zeros(size1)
    inner, border = _decompose(size1 - 1, size2)
    inner -= shift
    seeded = size1 != 1 << shift  # else the old tree is one complete subtree and root1 itself is the seed
    _require_length(where, seeded + inner + border, len(proof))
    seed = proof[0] if seeded else root1
    path = proof[1:] if seeded else proof
    mask = (size1 - 1) >> shift
    left = [node for bit, node in enumerate(path[:inner]) if mask >> bit & 1]  # what size1 had already
    _require_root(where, root1, _chain_border(_chain_border(seed, left), path[inner:]))
    _require_root(where, root2, _chain_border(_chain_inner(seed, path[:inner], mask), path[inner:]))


def _above(level: Sequence[Hash]) -> list[Hash]:
    pairs = [node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
    return pairs + list(level[len(level) & ~1 :])


def _path(level: list[Hash], index: int) -> tuple[Hash, ...]:
    """The siblings of node `index` of `level`, and of its ancestors, up to the root."""
    path = []
    while len(level) > 1:
        if (sibling := index ^ 1) < len(level):
            path.append(level[sibling])
        level, index = _above(level), index >> 1
    return tuple(path)


def _decompose(index: int, size: int) -> tuple[int, int]:
    """The lengths of the two parts of a path: below, and above, where leaf `index` and the last leaf part.

    Below, siblings lie on either side as the bits of index say; above, the path runs along the right border
    of the tree, where every sibling there is lies left.
    """
    inner = (index ^ (size - 1)).bit_length()
    return inner, (index >> inner).bit_count()


def _chain_inner(node: Hash, path: Sequence[Hash], index: int) -> Hash:
    for bit, sibling in enumerate(path):
        node = node_hash(sibling, node) if index >> bit & 1 else node_hash(node, sibling)
    return node


def _chain_border(node: Hash, path: Sequence[Hash]) -> Hash:
    for sibling in path:
        node = node_hash(sibling, node)
    return node


def _trailing_zeros(n: int) -> int:
    return (n & -n).bit_length() - 1


def _require_hashes(where: str, *hashes: Hash) -> None:
    for node in hashes:
        if len(node) != HASH_BYTES:
            raise BadProof("a hash has the wrong size", where, f"{HASH_BYTES} bytes", f"{len(node)} bytes")


def _require_length(where: str, expected: int, found: int) -> None:
    if expected != found:
        raise BadProof("proof has the wrong length", where, f"{expected} hashes", f"{found} hashes")


def _require_root(where: str, expected: Hash, found: Hash) -> None:
    if expected != found:
        raise BadProof("root hash differs", where, expected, found)
