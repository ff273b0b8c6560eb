"""A file of the log that is nowhere but in memory."""

from __future__ import annotations

from typing import Any

__all__ = ["Nowhere"]


class Nowhere:
    """A file that takes everything."""

    path = "nowhere"

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: Any) -> int:
        self.data += bytes(data)
        return len(data)

    def fdatasync(self) -> None:
        return

    def truncate(self, size: int) -> None:
        self.data = self.data[:size]

    def close(self) -> None:
        return
