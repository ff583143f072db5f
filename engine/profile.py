"""The pins of the determinism profile: variables, library versions, CPU features, lowerings.

Any change of a pin is another profile: give it a new name (det-2), then regenerate the fingerprint and the
goldens. Each line was measured, on a real AVX-512 CPU against emulated ones with AVX2.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

_XLA_FLAGS = (
    # never an instruction set above AVX2 with FMA, whatever the host has; 256-bit vectors everywhere
    "--xla_cpu_max_isa=AVX2",
    "--xla_cpu_prefer_vector_width=256",
    # YNNPACK off: with it a float64 vmap(sum((A @ row)**2)) over 16,385 rows is silently wrong
    # (jax-ml/jax #39103)
    "--xla_cpu_experimental_ynn_fusion_type=",
    # no hardware approximation of rsqrt, no reassociation, no Eigen blocking by threads or by cache size
    "--xla_cpu_enable_platform_dependent_math=false",
    "--xla_cpu_enable_fast_math=false",
    "--xla_cpu_multi_thread_eigen=false",
    "--xla_backend_extra_options=xla_force_enable_experimental_llvm_ir_gemm",
)


@dataclass(frozen=True)
class Profile:
    """Pins by name. `sha256` is over the compact JSON, keys sorted, of these fields.

    Names and values are ASCII text and nothing else, so this JSON is the RFC 8785 form too (held by a test).
    """

    name: str
    variables: tuple[tuple[str, str], ...]
    unset: tuple[str, ...]  # shell patterns of variables that must not be set, those of `variables` excepted
    cpu_features: tuple[str, ...]  # as NumPy names them
    versions: tuple[tuple[str, str], ...]  # distributions whose code computes published numbers
    lowerings: tuple[str, ...]  # operations lowered to XLA by this project's own rule

    @property
    def sha256(self) -> str:
        text = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode("ascii")).hexdigest()


PROFILE = Profile(
    name="det-1",
    variables=(
        ("ARROW_USER_SIMD_LEVEL", "AVX2"),
        ("JAX_ENABLE_X64", "1"),
        ("JAX_PLATFORMS", "cpu"),
        ("LC_ALL", "C.UTF-8"),
        # NumPy 2.4's dispatch targets above X86_V3, from numpy._core._multiarray_umath.__cpu_dispatch__
        ("NPY_DISABLE_CPU_FEATURES", "X86_V4,AVX512_ICL,AVX512_SPR"),
        ("OMP_NUM_THREADS", "1"),
        ("OPENBLAS_CORETYPE", "Haswell"),
        ("OPENBLAS_L2_SIZE", "256"),  # KiB, Haswell's: never the host's, which emulators and guests hide
        ("OPENBLAS_NUM_THREADS", "1"),
        ("PJRT_NPROC", "1"),
        ("PYTHONHASHSEED", "0"),
        ("TF_CPP_MIN_LOG_LEVEL", "1"),  # `import jax` sets it; pinned, so that its children are in profile
        ("TZ", "UTC"),
        ("XLA_FLAGS", " ".join(_XLA_FLAGS)),
    ),
    unset=(
        # other knobs of the libraries pinned above
        *("ARROW_*", "JAX_*", "NPY_*", "NUMPY_*", "OMP_*", "OPENBLAS_*", "PJRT_*", "XLA_*"),
        *("TF_CPP_*", "TF_DISABLE_*", "TF_ENABLE_*", "TF_USE_*", "TF_XLA_*"),
        # other number crunchers and thread pools, should one be loaded
        *("BLIS_*", "DNNL_*", "GOMP_*", "GOTO_*", "KMP_*", "MKL_*", "NUMBA_*", "NUMEXPR_*", "ONEDNN_*"),
        # libraries of the replayed path; Zarr's and Blosc's change the bytes written
        *("ARVIZ_*", "BLOSC_*", "NUMPYRO_*", "SCIPY_*", "ZARR_*"),
        # which variant of libm's functions runs
        *("GLIBC_TUNABLES", "LD_HWCAP_MASK"),
        # language, encoding of text files, asserts
        *("LANGUAGE", "PYTHONIOENCODING", "PYTHONOPTIMIZE", "PYTHONUTF8"),
    ),
    cpu_features=("AVX2", "FMA3"),
    versions=(
        ("blackjax", "1.7.1"),
        ("jax", "0.10.2"),
        ("jaxlib", "0.10.2"),
        ("ml_dtypes", "0.6.0"),
        ("numpy", "2.4.6"),
        ("numpyro", "0.22.0"),
        ("opt_einsum", "3.4.0"),  # chooses the order of an einsum's contractions
        ("scipy", "1.17.1"),  # its OpenBLAS is jaxlib's LAPACK
    ),
    lowerings=("dot_general as row-major (m,k) by (k,n)",),
)
