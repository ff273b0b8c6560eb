"""Which hot loops run as C: the choice, made when they are imported.

A kernel is a module `_name_cy.py` that is valid Python and that Cython compiles as it stands; `KERNELS` and
pyproject.toml list them. Installing builds the extension beside the source where a C compiler is there, and does
without where not. The finder here stands before Python's own, which would take any extension it sees:

1. with ``AOFNB_PURE=1`` in the environment the source runs, always;
2. an extension that was built from another source than the one beside it is not used, with a warning: else an edit
   would be silently ignored. The build appends a line with the digest of the source to what it compiles;
3. an extension that cannot be loaded, built for another machine maybe, is not used either.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import sys
import warnings
from collections.abc import Sequence
from glob import glob
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ExtensionFileLoader, ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType
from typing import Literal

__all__ = ["KERNELS", "KernelWarning", "describe", "digest", "install_finder", "kernels", "stale"]

KERNELS = (
    "aofnb.store._packed_cy",
    "aofnb.store._table_cy",
    "aofnb.store._stream_cy",
    "aofnb.resp._plain_cy",
    "aofnb.resp._encode_cy",
    "aofnb.aof._snapshot_cy",
    "aofnb.aof._write_cy",
    "aofnb.engine._replay_cy",
    "aofnb.engine._turn_cy",
    "aofnb.adapters._peer_cy",
    "aofnb.adapters._answer_cy",
    "aofnb.forensics._columns_cy",
    "aofnb.forensics._kinds_cy",
    "aofnb.forensics._runs_cy",
    "aofnb.forensics._walk_cy",
    "aofnb.forensics._fill_cy",
    "aofnb.forensics._keys_cy",
    "aofnb.rdb._crc64_cy",
    "aofnb.rdb._listpack_cy",
    "aofnb.rdb._lzf_cy",
    "aofnb.rdb._records_cy",
)
# Of a compiled kernel: the digest of what it was compiled from.
DIGEST_NAME = "SOURCE_DIGEST"

State = Literal["compiled", "python"]

# Of the kernels imported so far; and why an extension that is there was not used.
_states: dict[str, State] = {}
_stale: dict[str, str] = {}


class KernelWarning(RuntimeWarning):
    """A compiled kernel is there but was not used."""


def kernels() -> dict[str, State]:
    """Which hot loops run compiled and which in Python, that is slower.

    Compiling needs a C compiler when aofnb is installed; ``AOFNB_PURE=1`` in the environment has Python run all.

    >>> import aofnb
    >>> sorted(set(aofnb.kernels().values()) - {"compiled", "python"})
    []
    """
    states: dict[str, State] = {}
    for name in KERNELS:
        package, _, module = name.rpartition(".")
        # A package that nobody imported yet stays so: it may take a second.
        if package in sys.modules:
            importlib.import_module(name)
            state = _states.get(name, "python")
        else:
            state = "compiled" if _has_extension(name) and not _pure() else "python"
        states[f"{package.removeprefix('aofnb.')}.{module.removeprefix('_').removesuffix('_cy')}"] = state
    return states


def _has_extension(name: str) -> bool:
    folder = os.path.join(os.path.dirname(__file__), *name.split(".")[1:-1])
    spec = PathFinder.find_spec(name, [folder])
    return spec is not None and isinstance(spec.loader, ExtensionFileLoader)


def describe() -> str:
    """One line for people: what runs compiled, and what to do where nothing does."""
    states = kernels()
    compiled = [name for name, state in states.items() if state == "compiled"]
    python = [name for name, state in states.items() if state == "python"]
    if not python:
        return f"compiled kernels: {', '.join(compiled)}"
    why = "AOFNB_PURE is set" if _pure() else "a C compiler and `make build` would compile them"
    line = f"plain Python, which is slower: {', '.join(python)} ({why})"
    return line if not compiled else f"compiled kernels: {', '.join(compiled)}; {line}"


def stale() -> dict[str, str]:
    """Kernels whose extension is there but not used, though it was wanted, and why."""
    for name in KERNELS:
        importlib.import_module(name)
    return dict(_stale)


def digest(source: str) -> str:
    """Digest of a kernel's source file and, if a .pxd is beside it, of that and of those it may import."""
    paths = [source, source.removesuffix(".py") + ".pxd"]
    if os.path.exists(paths[1]):
        paths += sorted(glob(os.path.join(os.path.dirname(os.path.dirname(source)), "*", "*.pxd")))
    found = hashlib.sha256()
    for path in paths:
        if os.path.exists(path):
            with open(path, "rb") as file:
                found.update(file.read())
    return found.hexdigest()


def _pure() -> bool:
    return os.environ.get("AOFNB_PURE", "0") not in ("", "0")


class _Loader(Loader):
    """Loads the extension if it is wanted and up to date, else the source."""

    def __init__(self, extension: str, source: str) -> None:
        self._extension = extension
        self._source = source
        self._compiled = False

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        if _pure():
            return None
        try:
            module = self._load_extension(spec.name)
            built_from = getattr(module, DIGEST_NAME, None)
            if not os.path.exists(self._source) or built_from == digest(self._source):
                self._compiled = True
                return module
            problem = "was built from another version of its source"
        except (ImportError, AttributeError, TypeError, ValueError) as error:
            # All but the first from a kernel that wants what another is in C, where that one is not compiled.
            problem = f"cannot be loaded ({error})"
        _stale[spec.name] = f"{self._extension} {problem}"
        warnings.warn(
            f"{self._extension} {problem}, so {spec.name} runs in plain Python, which is slower. "
            "To build it anew: `make build`, or install aofnb again",
            KernelWarning,
            stacklevel=2,
        )
        return None

    def exec_module(self, module: ModuleType) -> None:
        _states[module.__name__] = "compiled" if self._compiled else "python"
        if not self._compiled:
            SourceFileLoader(module.__name__, self._source).exec_module(module)

    def _load_extension(self, name: str) -> ModuleType:
        loader = ExtensionFileLoader(name, self._extension)
        spec = spec_from_file_location(name, self._extension, loader=loader)
        assert spec is not None
        module = module_from_spec(spec)
        loader.exec_module(module)
        return module


class _Finder(MetaPathFinder):
    """Puts `_Loader` in the place of Python's own for modules of this package that have an extension."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not fullname.startswith("aofnb."):
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or not isinstance(spec.loader, ExtensionFileLoader):
            return spec
        extension = spec.loader.path
        source = os.path.join(os.path.dirname(extension), fullname.rpartition(".")[2] + ".py")
        return spec_from_file_location(fullname, source, loader=_Loader(extension, source))


def install_finder() -> None:
    """From now on kernels are imported by the rules above."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
