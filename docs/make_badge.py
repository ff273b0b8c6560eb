"""Puts a badge into README that starts this repository on Binder, once it has a public address.

    python docs/make_badge.py OWNER/REPOSITORY [BRANCH OR TAG]

Until then README has words and no badge: a link that leads nowhere helps nobody. Take a tag, or a branch that rarely
changes, since Binder builds a new image for each commit.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

README = Path(__file__).resolve().parents[1] / "README.md"
FIRST = "notebooks/index.ipynb"
BEGIN, END = "<!-- binder: written by docs/make_badge.py -->", "<!-- end of binder -->"


def badge(repository: str, ref: str) -> str:
    """The badge of a repository, as Markdown."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise SystemExit(f"OWNER/REPOSITORY, as in its address on GitHub (given: {repository})")
    link = f"https://mybinder.org/v2/gh/{repository}/{ref}?urlpath=lab/tree/{FIRST}"
    return f"[![Start it on Binder](https://mybinder.org/badge_logo.svg)]({link})"


def updated(readme: str, repository: str, ref: str) -> str:
    """README with the badge between its marks."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    words = (
        "opens the tutorials in a browser, without installing anything. [More on running it online](docs/online.md)."
    )
    return f"{before}{BEGIN}\n{badge(repository, ref)} {words}\n{END}{after}"


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        raise SystemExit(__doc__)
    README.write_text(
        updated(README.read_text(encoding="utf-8"), sys.argv[1], (*sys.argv, "HEAD")[2]), encoding="utf-8"
    )
