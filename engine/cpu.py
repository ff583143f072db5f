"""What the CPU under this process can do, asked of it before any numerical library is loaded.

/proc/cpuinfo will not do: under a user-mode emulator it describes the host. Nor will NumPy: on a CPU without
AVX2 its OpenBLAS, pinned to Haswell's kernels, dies of an illegal instruction while being imported.
"""

from __future__ import annotations

import ctypes

# (name, leaf index, register index in eax ebx ecx edx, bit): Intel SDM vol. 2A, CPUID leaves 1 and 7.
_BITS = (("AVX", 0, 2, 28), ("AVX2", 1, 1, 5), ("FMA3", 0, 2, 12))


class _Leaf(ctypes.Structure):
    _fields_ = (("cpuid", ctypes.c_uint * 4), ("active", ctypes.c_uint * 4))  # glibc's sys/platform/x86.h


def features() -> tuple[str, ...] | None:
    """Which of AVX, AVX2 and FMA3 are usable here (by CPU and kernel), sorted; None when it cannot be told.

    Asks the C library (glibc 2.33 or later, x86-64), which ran CPUID inside this process.
    """
    try:
        leaf = ctypes.CDLL(None).__x86_get_cpuid_feature_leaf
    except AttributeError:
        return None
    leaf.argtypes = [ctypes.c_uint]
    leaf.restype = ctypes.POINTER(_Leaf)
    return tuple(name for name, index, register, bit in _BITS if leaf(index).contents.active[register] >> bit & 1)
