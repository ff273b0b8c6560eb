"""What commands are told who ask for files that a store in memory has not.

Implements `aofnb.commands.client.Persistence`.
"""

from __future__ import annotations

from collections.abc import Callable

from aofnb.errors import ReplyError

__all__ = ["NoFiles"]


class NoFiles:
    """Of a store without a directory: there is nothing to write to."""

    def __init__(self, shut_down: Callable[[], None]) -> None:
        self.refusal: str | None = None
        self._shut_down = shut_down

    def _refuse(self) -> ReplyError:
        return ReplyError("ERR this store has no directory to save to: it was opened with path None")

    def save(self) -> None:
        raise self._refuse()

    def bgsave(self, schedule: bool) -> str:
        raise self._refuse()

    def flushed(self) -> bool:
        return False

    def last_save_s(self) -> int:
        return 0

    def reload(self, *, save: bool, flush: bool, merge: bool) -> None:
        raise self._refuse()

    def load_aof(self) -> None:
        raise self._refuse()

    def sleep_before_flush(self, seconds: float) -> None:
        raise self._refuse()

    def shutdown(self, save: bool | None, force: bool) -> None:
        if save:
            raise self._refuse()
        self._shut_down()

    def watch(self) -> None:
        return

    def mark_unsynced(self) -> None:
        return

    def info(self) -> dict[str, object]:
        return {}

    def reset_stats(self) -> None:
        return
