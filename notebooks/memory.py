"""How much memory the kernel of each notebook takes at its peak, in MiB: Binder guarantees 1024. Linux only.

python notebooks/memory.py notebooks/*.ipynb
"""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
from refresh import client_for

# The high-water mark of this very process; getrusage would count what its parent had before it became a kernel.
QUESTION = """
from pathlib import Path
print([line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")][0])
"""


def peak_mib(path: Path) -> float:
    """Run the notebook at `path`, and ask its kernel."""
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(QUESTION))
    client_for(notebook, path.parent).execute()
    return int(notebook.cells[-1].outputs[-1].text) / 1024


if __name__ == "__main__":
    print("| notebook | MiB |\n| --- | --- |")
    for name in sys.argv[1:]:
        print(f"| {Path(name).stem} | {peak_mib(Path(name)):.0f} |", flush=True)
