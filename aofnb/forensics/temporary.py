"""A directory for as long as somebody holds it: a log has no close, and says nothing when it goes."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from pathlib import Path

__all__ = ["Temporary"]


class Temporary:
    """An empty directory, `path`, that is removed with this object, or when Python ends."""

    # tempfile.TemporaryDirectory warns of whoever leaves it to the garbage collection, as is meant here.
    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="aofnb-"))
        self._finalizer = weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)

    def remove(self) -> None:
        """Remove it now. Twice is fine."""
        self._finalizer()
