"""The determinism profile: what a process must be, before JAX is imported, for its numbers to replay.

Glossary
--------
profile     pinned variables, library versions, CPU features and lowerings: engine/profile.py
in profile  the environment a process was *started* with holds every pin. NumPy, OpenBLAS, XLA and Python
            read theirs once, at start-up or at import, so a process out of profile is replaced, never
            repaired: `environment` gives the mapping to `execve` with, and `enter` accepts the new process
entered     the pins were checked, the libraries imported under them, and asked what they really took

This module never reads the environment: every function takes the mapping. It imports no numerical library
before `enter` has checked that it may.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import json
import os
import re
import stat
import sys
import warnings
from collections.abc import Collection, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

from engine import cpu
from engine.errors import ProfileError
from engine.profile import PROFILE as PROFILE
from engine.profile import Profile as Profile

UNSET = "(unset)"
ABSENT = "(absent)"


class Difference(NamedTuple):
    """One pin that does not hold: a variable, flag, library, module or CPU feature."""

    what: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.what}: expected {self.expected or 'empty'}, found {self.found or 'empty'}"


_READ_AT_IMPORT = ("blackjax", "jax", "jaxlib", "numpy", "numpyro", "pyarrow", "scipy", "zarr")

# What XLA must say it parsed.
_XLA_OPTIONS = (
    ("xla_cpu_max_isa", '"AVX2"'),
    ("xla_cpu_prefer_vector_width", "256"),
    ("xla_cpu_experimental_ynn_fusion_type", ABSENT),
    ("xla_cpu_enable_platform_dependent_math", "false"),
    ("xla_cpu_enable_fast_math", "false"),
    ("xla_cpu_multi_thread_eigen", "false"),
)
_XLA_EXTRA = "xla_force_enable_experimental_llvm_ir_gemm"

_JAX_OPTIONS: tuple[tuple[str, Any], ...] = (
    ("jax_enable_x64", True),
    ("jax_platforms", "cpu"),
    ("jax_default_prng_impl", "threefry2x32"),
    ("jax_threefry_partitionable", True),
    ("jax_default_matmul_precision", None),
    ("jax_disable_jit", False),
    ("jax_num_cpu_devices", -1),
    ("jax_numpy_dtype_promotion", "standard"),
)

_entered = False


def environment(current: Mapping[str, str]) -> dict[str, str]:
    """`current` with every pin set, every variable that could change a number removed, and the rest kept."""
    kept = {name: value for name, value in current.items() if not _forbidden(name)}
    return {**kept, **dict(PROFILE.variables)}


def in_profile(environ: Mapping[str, str]) -> tuple[Difference, ...]:
    """Every variable of `environ` that is out of profile, sorted; empty: a process started with it is in.

    XLA_FLAGS is compared flag by flag, so that the one which contradicts is named.
    """
    found: list[Difference] = []
    for name, expected in PROFILE.variables:
        actual = environ.get(name, UNSET)
        if actual != expected and name == "XLA_FLAGS" and actual != UNSET:
            found += _flag_differences(expected, actual)
        elif actual != expected:
            found.append(Difference(name, expected, actual))
    found += [Difference(name, UNSET, environ[name]) for name in environ if _forbidden(name)]
    return tuple(sorted(found))


def check(environ: Mapping[str, str], modules: Collection[str]) -> None:
    """`enter` may go on: pins hold, the CPU has AVX2 and FMA, and no numerical library is in `modules` yet.

    Pass sys.modules. Raises ProfileError naming every difference. Imports nothing numerical.
    """
    differences = list(in_profile(environ))
    if not differences and sys.flags.hash_randomization:
        # The variable is there, but Python did not obey it: set after start-up, or python -I or -E.
        differences.append(Difference("string hashing", "PYTHONHASHSEED=0 at start-up", "randomised"))
    if not _entered:
        early = [name for name in _READ_AT_IMPORT if name in modules]
        differences += [Difference(f"module {name}", "not imported yet", "imported") for name in early]
    installed = [(name, expected, _version(name)) for name, expected in PROFILE.versions]
    differences += [Difference(f"version of {name}", *pair) for name, *pair in installed if pair[0] != pair[1]]
    usable = cpu.features()
    lacking = [name for name in PROFILE.cpu_features if usable is not None and name not in usable]
    differences += [Difference(f"CPU feature {name}", "present", ABSENT) for name in lacking]
    _refuse(differences)


def enter(environ: Mapping[str, str], modules: Collection[str]) -> None:
    """This process computes in the profile from here on; JAX is imported, float64, on one CPU device.

    Call before any import of a numerical library. Checks (`check`), imports, takes over how matrix products
    are lowered (engine/contraction.py), then asks NumPy, XLA and JAX what they took. Idempotent. Raises
    ProfileError naming every difference, such as a CPU without AVX2 and FMA.
    """
    global _entered
    check(environ, modules)
    from engine import contraction  # imports JAX, under the pins just checked

    contraction.install()
    found = [*_cpu_differences(), *_jax_differences(), *_xla_differences()]
    if not contraction.installed():
        found.append(Difference("lowering of dot_general", PROFILE.lowerings[0], "the stock one"))
    _refuse(found)
    _entered = True


def cpu_features() -> tuple[str, ...]:
    """The features NumPy found on its CPU and left enabled, sorted. Under an emulator, the emulated CPU's."""
    found: dict[str, bool] = importlib.import_module("numpy._core._multiarray_umath").__cpu_features__
    return tuple(sorted(name for name, present in found.items() if present))


def compilation_cache(path: Path) -> Path:
    """JAX keeps compiled programs in the returned sub-folder of `path`; no byte of a result depends on it.

    The sub-folder's name holds the digest of the profile, and that of what JAX leaves out of its own key (C
    library, CPU). Whoever can write there can run code as this user: the folder is made 0700, and refused
    (ProfileError) when it is a link, another user's, or writable by others. Call after `enter`.
    """
    if not _entered:
        raise ProfileError("compilation cache: expected a process in the profile, found one that did not enter")
    import jax

    host = json.dumps([os.uname().machine, os.confstr("CS_GNU_LIBC_VERSION"), *cpu_features()])
    digest = hashlib.sha256(host.encode()).hexdigest()
    folder = path / f"{PROFILE.name}-{PROFILE.sha256[:16]}-{digest[:16]}"
    for part in (path, folder):
        part.mkdir(mode=0o700, parents=True, exist_ok=True)
        _private(part)
    # two processes may compile one program at once: a half-written entry is compiled again, which is no fault
    warnings.filterwarnings("ignore", message="Error (reading|writing) persistent compilation cache entry")
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    jax.config.update("jax_persistent_cache_enable_xla_caches", "none")
    return folder


def _forbidden(name: str) -> bool:
    pinned = any(name == variable for variable, _ in PROFILE.variables)
    return not pinned and any(fnmatchcase(name, pattern) for pattern in PROFILE.unset)


def _flag_differences(expected: str, actual: str) -> list[Difference]:
    want, have = (dict(flag.partition("=")[::2] for flag in text.split()) for text in (expected, actual))
    names = [name for name in {**want, **have} if want.get(name) != have.get(name)]
    if not names:  # the same flags, reordered or repeated
        return [Difference("XLA_FLAGS", expected, actual)]
    return [Difference(f"XLA_FLAGS {name}", want.get(name, UNSET), have.get(name, UNSET)) for name in names]


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ABSENT


def _cpu_differences() -> list[Difference]:
    """NumPy's own view, after its import: the last word on what is there and what it left disabled."""
    features = cpu_features()
    capped = dict(PROFILE.variables)["NPY_DISABLE_CPU_FEATURES"].split(",")
    missing = [name for name in PROFILE.cpu_features if name not in features]
    return [
        *(Difference(f"CPU feature {name}", "present", ABSENT) for name in missing),
        *(Difference(f"NumPy's {name}", "disabled", "enabled") for name in capped if name in features),
    ]


def _jax_differences() -> list[Difference]:
    import jax
    import jax.numpy as jnp

    answers: list[tuple[str, str, str]] = []
    for name, expected in _JAX_OPTIONS:
        value = jax.config.values[name]
        answers.append((name, str(expected), str(getattr(value, "value", value))))
    answers.append(("JAX devices", "cpu", ", ".join(device.platform for device in jax.devices())))
    answers.append(("JAX default dtype", "float64", str(jnp.zeros(1).dtype)))
    return [Difference(*answer) for answer in answers if answer[1] != answer[2]]


def _xla_differences() -> list[Difference]:
    """XLA parses XLA_FLAGS once a process: ask it, since the variable may have been set too late."""
    from jaxlib import xla_client

    compile_options = xla_client.CompileOptions()
    build_options = compile_options.executable_build_options
    text = repr(build_options.debug_options)  # views: each owner above must stay referenced
    found = []
    for name, expected in _XLA_OPTIONS:
        answer = " ".join(re.findall(rf"^{name}:\s+(\S+)$", text, re.MULTILINE)) or ABSENT
        if answer != expected:
            found.append(Difference(name, expected, answer))
    if f'"{_XLA_EXTRA}"' not in text:
        found.append(Difference("xla_backend_extra_options", _XLA_EXTRA, ABSENT))
    return found


def _private(folder: Path) -> None:
    status = folder.lstat()
    mode = stat.filemode(status.st_mode)
    where = f"compilation cache {folder}"
    if not stat.S_ISDIR(status.st_mode):
        raise ProfileError(f"{where}: expected a folder, found mode {mode}")
    if status.st_uid != os.geteuid():
        raise ProfileError(f"{where}: expected owner {os.geteuid()}, found {status.st_uid}")
    if status.st_mode & 0o022:
        raise ProfileError(f"{where}: expected that only its owner may write, found mode {mode}")


def _refuse(differences: list[Difference]) -> None:
    if differences:
        lines = "".join(f"\n  {difference}" for difference in differences)
        raise ProfileError(f"not in the determinism profile {PROFILE.name}:{lines}")
