"""Laws of the Merkle tree: agreement with the RFC's own recursion, public vectors, and refusals."""

from __future__ import annotations

import base64
import json
import random
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit import merkle
from audit.errors import BadProof, Usage
from tests import reference_merkle as rfc
from tests.shared import shared_files

SMALL = 130
DATA = [f"leaf {i}".encode() for i in range(3000)]
HASHES = [merkle.leaf_hash(data) for data in DATA]
ROOTS = [merkle.root(HASHES[:n]) for n in range(SMALL + 1)]


def test_root_is_the_rfc_recursion_at_every_small_size() -> None:
    assert [rfc.mth(DATA[:n]) for n in range(SMALL + 1)] == ROOTS


def test_every_inclusion_proof_of_small_trees_is_the_rfc_path_and_verifies() -> None:
    for size in range(1, SMALL + 1):
        for index in range(size):
            proof = merkle.inclusion_proof(HASHES, index, size)
            assert list(proof) == rfc.path(index, DATA[:size])
            merkle.verify_inclusion(HASHES[index], index, size, proof, ROOTS[size])


def test_every_consistency_proof_of_small_trees_is_the_rfc_proof_and_verifies() -> None:
    for size2 in range(1, SMALL + 1):
        for size1 in range(1, size2 + 1):
            proof = merkle.consistency_proof(HASHES, size1, size2)
            assert list(proof) == rfc.proof(size1, DATA[:size2])
            merkle.verify_consistency(size1, size2, ROOTS[size1], ROOTS[size2], proof)


def test_large_random_trees_agree_with_the_rfc() -> None:
    draw = random.Random(6962)
    for _ in range(20):
        size2 = draw.randrange(SMALL, len(HASHES))
        size1, index = draw.randrange(1, size2 + 1), draw.randrange(size2)
        root1, root2 = merkle.root(HASHES[:size1]), merkle.root(HASHES[:size2])
        assert root2 == rfc.mth(DATA[:size2])
        path = merkle.inclusion_proof(HASHES, index, size2)
        proof = merkle.consistency_proof(HASHES, size1, size2)
        assert list(path) == rfc.path(index, DATA[:size2])
        assert list(proof) == rfc.proof(size1, DATA[:size2])
        merkle.verify_inclusion(HASHES[index], index, size2, path, root2)
        merkle.verify_consistency(size1, size2, root1, root2, proof)


def _decode(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


@pytest.mark.parametrize("file", shared_files("vectors/merkle", "**/*.json"))
def test_public_vectors_get_their_stated_verdict(file: Path) -> None:
    case = json.loads(file.read_text())
    with pytest.raises(BadProof) if case["wantErr"] else nullcontext():
        _verify_vector(case)


def _verify_vector(case: dict[str, Any]) -> None:
    proof = [_decode(node) for node in case["proof"] or ()]
    if "leafIdx" in case:
        leaf, root = _decode(case["leafHash"]), _decode(case["root"])
        merkle.verify_inclusion(leaf, case["leafIdx"], case["treeSize"], proof, root)
    else:
        root1, root2 = _decode(case["root1"]), _decode(case["root2"])
        merkle.verify_consistency(case["size1"], case["size2"], root1, root2, proof)


@settings(deadline=None, max_examples=300, derandomize=True)
@given(st.data())
def test_any_changed_bit_of_an_inclusion_proof_is_refused(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, SMALL))
    index = data.draw(st.integers(0, size - 1))
    parts = [HASHES[index], ROOTS[size], *merkle.inclusion_proof(HASHES, index, size)]
    parts = _flipped(data, parts)
    with pytest.raises(BadProof):
        merkle.verify_inclusion(parts[0], index, size, parts[2:], parts[1])


@settings(deadline=None, max_examples=300, derandomize=True)
@given(st.data())
def test_any_changed_bit_of_a_consistency_proof_is_refused(data: st.DataObject) -> None:
    size2 = data.draw(st.integers(1, SMALL))
    size1 = data.draw(st.integers(1, size2))
    parts = [ROOTS[size1], ROOTS[size2], *merkle.consistency_proof(HASHES, size1, size2)]
    parts = _flipped(data, parts)
    with pytest.raises(BadProof):
        merkle.verify_consistency(size1, size2, parts[0], parts[1], parts[2:])


def _flipped(data: st.DataObject, parts: list[bytes]) -> list[bytes]:
    part = data.draw(st.integers(0, len(parts) - 1))
    bit = data.draw(st.integers(0, 255))
    flipped = (int.from_bytes(parts[part], "big") ^ 1 << bit).to_bytes(32, "big")
    return [*parts[:part], flipped, *parts[part + 1 :]]


def test_no_leaf_passes_for_another_index() -> None:
    for size in range(1, 34):
        for index in range(size):
            proof = merkle.inclusion_proof(HASHES, index, size)
            for other in {*range(-1, size + 2)} - {index}:
                with pytest.raises(BadProof):
                    merkle.verify_inclusion(HASHES[index], other, size, proof, ROOTS[size])


def test_a_node_never_passes_for_a_leaf() -> None:
    # without the RFC's 0x00 and 0x01, the root of two leaves would be the hash of one leaf: their node
    inner = HASHES[0] + HASHES[1]
    assert merkle.leaf_hash(inner) != ROOTS[2]


def test_size_zero_has_a_root_but_no_proof() -> None:
    assert merkle.root([]) == merkle.EMPTY_ROOT
    for size2 in (0, 1, 8):
        with pytest.raises(BadProof):
            merkle.verify_consistency(0, size2, merkle.EMPTY_ROOT, ROOTS[size2], [])
        with pytest.raises(Usage):
            merkle.consistency_proof(HASHES, 0, size2)


def test_equal_sizes_need_equal_roots_and_an_empty_proof() -> None:
    merkle.verify_consistency(5, 5, ROOTS[5], ROOTS[5], [])
    for root2, proof in ((ROOTS[6], []), (ROOTS[5], [ROOTS[5]])):
        with pytest.raises(BadProof):
            merkle.verify_consistency(5, 5, ROOTS[5], root2, proof)


@pytest.mark.parametrize(("index", "size"), [(-1, 3), (3, 3), (0, 0), (0, 4)])
def test_no_inclusion_proof_outside_the_tree(index: int, size: int) -> None:
    with pytest.raises(Usage):
        merkle.inclusion_proof(HASHES[:3], index, size)
