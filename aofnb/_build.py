"""Compiles the kernels: for pip, which finds `BuildKernels` through pyproject.toml, and for `make build`, in place.

What is compiled is a copy of the kernel with one line behind it, which holds the digest of the source: by it an
extension that no longer fits its source is known (`_kernels`). A kernel that cannot be compiled is left out, with a
warning.
"""

from __future__ import annotations

import os
import runpy
import shutil
import sys
import tomllib
from pathlib import Path

from setuptools import Distribution, Extension
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError

ROOT = Path(__file__).resolve().parents[1]
# By path: when pip builds, the package cannot be imported.
_KERNELS = runpy.run_path(str(Path(__file__).with_name("_kernels.py")))


class BuildKernels(build_ext):
    """`build_ext` that compiles Python sources by Cython; with ``optional`` extensions a failure is a warning."""

    def build_extension(self, ext: Extension) -> None:
        """Python to C, then C to machine code."""
        # One source, unless this ran before.
        ext.sources = [self._translated(source) if source.endswith(".py") else source for source in ext.sources]
        if self.compiler.compiler_type == "unix":
            ext.extra_compile_args = ["-O3", "-g0"]
        super().build_extension(ext)

    def _translated(self, source: str) -> str:
        """The C file made of the kernel `source`."""
        copy = Path(self.build_temp, "kernels", source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        for suffix in (".py", ".pxd"):
            copy.with_suffix(suffix).unlink(missing_ok=True)
            if Path(source).with_suffix(suffix).exists():
                shutil.copyfile(Path(source).with_suffix(suffix), copy.with_suffix(suffix))
        with copy.open("a") as file:
            file.write(f"\n{_KERNELS['DIGEST_NAME']} = {_KERNELS['digest'](source)!r}\n")
        try:
            from Cython.Build import cythonize
            from Cython.Compiler.Errors import CompileError as NotTranslated
        except ImportError:
            raise CompileError("Cython is not there") from None
        module = source.removesuffix(".py").replace("/", ".")
        try:
            [made] = cythonize([Extension(module, [str(copy)])], force=True, quiet=True, language_level=3)
        except NotTranslated as problem:
            raise CompileError(f"Cython cannot translate {source}: {problem}") from problem
        return str(made.sources[0])


def main() -> int:
    """Build all kernels beside their sources; the exit status. What fails is gone, and so is not stale."""
    os.chdir(ROOT)
    with open("pyproject.toml", "rb") as file:
        declared = tomllib.load(file)["tool"]["setuptools"]["ext-modules"]
    extensions = [Extension(each["name"], each["sources"], optional=True) for each in declared]
    command = BuildKernels(Distribution({"name": "aofnb", "ext_modules": extensions}))
    command.inplace = True
    command.build_temp = "build/temp"
    command.ensure_finalized()
    paths = [Path(command.get_ext_fullpath(extension.name)) for extension in extensions]
    for path in paths:
        path.unlink(missing_ok=True)
    command.run()
    missing = [path.name for path in paths if not path.exists()]
    if missing:
        print(f"Not built: {', '.join(missing)}. They run as plain Python, which is slower.", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
