"""Pull the plug: a simulated disk, and every state that a crash may leave on it, opened again and judged.

`SimFs` is the disk, `Trial` a store that runs on it and is crashed at every operation.
"""

from aofnb.lab.crash import BuggyFs, Judge, Trial, ViolationError
from aofnb.lab.disk import DiskImage, Fault, SimFs
from aofnb.lab.scripts import everyday

__all__ = ["BuggyFs", "DiskImage", "Fault", "Judge", "SimFs", "Trial", "ViolationError", "everyday"]
