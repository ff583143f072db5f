"""The only maker of PRNG keys: named streams folded from the specification's seed.

Every random draw in the engine takes a key from here, so a stream depends on its name alone and not on how many
draws were made before it, in which process, or in what order.
"""

from __future__ import annotations

import hashlib

import jax


def stream(seed: int, *names: str | int) -> jax.Array:
    """The threefry key of the stream `names` under `seed`; equal names give equal keys, for ever.

    Each part of the name is hashed with SHA-256 and folded in as four 32-bit words, so that ("fit", 12) and
    ("fit1", 2) differ. Precondition: 0 <= seed < 2**53.
    """
    key = jax.random.key(seed & 0xFFFFFFFF, impl="threefry2x32")
    key = jax.random.fold_in(key, seed >> 32)
    for name in names:
        digest = hashlib.sha256(f"{type(name).__name__}:{name}".encode()).digest()
        for start in range(0, 16, 4):
            key = jax.random.fold_in(key, int.from_bytes(digest[start : start + 4], "big"))
    return key
