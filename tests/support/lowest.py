"""Print the lowest version that pyproject.toml promises of each library, for pip."""

from __future__ import annotations

import tomllib
from pathlib import Path

_EXTRAS = ("plot", "redis", "lua", "sql", "polars", "dask", "remote")


def lowest() -> list[str]:
    """``ipython==7.34`` and so on: what the package needs, and what its extras do, JupyterLab left out."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *(each for name in _EXTRAS for each in extras[name])]
    return [each.replace(">=", "==") for each in wanted]


if __name__ == "__main__":
    print(*lowest())
