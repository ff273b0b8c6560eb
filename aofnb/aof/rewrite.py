"""A new base: what it is to be, writing it, and when the log has grown enough to want one.

Rules of this file: form and file name are decided together, when a rewrite begins (`BaseForm`), so that CONFIG SET
meanwhile changes neither; what is half written is nobody's base: the caller removes it.

Redis: aof.c rewriteAppendOnlyFile, aofRewriteLimited; rio.c rioFileWrite; server.c serverCron, debugDelay (7.0.15).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from aofnb.aof.fs import File, Fs, write_all
from aofnb.aof.manifest import Suffix
from aofnb.config import Config
from aofnb.rdb import base_aux, crc64, write_rdb
from aofnb.resp.encode import encode_command
from aofnb.store.keyspace import Keyspace
from aofnb.store.snapshot import commands_of

__all__ = [
    "Backoff",
    "BaseFile",
    "BaseForm",
    "growth_triggers_rewrite",
    "is_temp_base_name",
    "key_delay",
    "temp_base_name",
    "write_base",
    "write_keyspace",
]

Record = tuple[int, Sequence[bytes]]

_WRITE_BYTES = 1 << 20
SYNC_BYTES = 4 << 20

_PREFIX, _SUFFIX = "temp-rewriteaof-", ".aof"


def temp_base_name(pid: int) -> str:
    """Name of a base that is being written.

    It lives beside the log's files. Redis writes it one directory up, where it cannot be renamed into place if the
    log's directory is a file system of its own, and where a second server's temporary file has the same kind of name,
    so that leftovers of a crash cannot be told from work in progress.
    """
    return f"{_PREFIX}bg-{pid}{_SUFFIX}"


def is_temp_base_name(name: str) -> bool:
    """Whether `name` is one that `temp_base_name`, or Redis, gives."""
    return name.startswith(_PREFIX) and name.endswith(_SUFFIX)


@dataclass(frozen=True, slots=True)
class BaseForm:
    """What a base is to be, as the settings were when the rewrite began.

    Attributes
    ----------
    suffix
        Of the file's name, and with it the form: ``rdb`` or ``aof`` (commands).
    now_s
        The time of the data, in seconds since the epoch.
    timestamp
        Whether a base of commands begins with that time.
    used_bytes
        The memory in use, which a snapshot says; servers show it when they load.
    incremental_fsync
        Whether each `SYNC_BYTES` are written back at once, so that the last fsync does not stall the disk.
    key_save_delay
        A test aid: microseconds to rest behind each key; if negative, one microsecond every so many keys.
    compressed, checksum
        Of a snapshot, see `rdb_pieces`.
    of_log
        Whether a snapshot says of itself that it is the base of a log.
    """

    suffix: Suffix
    now_s: int = 0
    timestamp: bool = False
    used_bytes: int = 0
    incremental_fsync: bool = True
    key_save_delay: int = 0
    compressed: bool = False
    checksum: bool = True
    of_log: bool = True

    @property
    def aux(self) -> list[tuple[bytes, bytes]]:
        """What a snapshot says about itself."""
        return base_aux(self.now_s, self.used_bytes, of_log=self.of_log)

    @classmethod
    def of(cls, config: Config, now_ms: int, used_bytes: int = 0) -> BaseForm:
        """As the settings are now."""
        return cls(
            suffix="rdb" if config.aof_use_rdb_preamble else "aof",
            now_s=now_ms // 1000,
            timestamp=config.aof_timestamp_enabled,
            used_bytes=used_bytes,
            incremental_fsync=config.aof_rewrite_incremental_fsync,
            key_save_delay=config.rdb_key_save_delay,
            compressed=config.rdbcompression,
            # In plain Python it would take longer than all the rest; 0 is how a server says that there is none.
            checksum=config.rdbchecksum and crc64.FAST,
        )


class BaseFile:
    """A base being written: counts its bytes and has them written back on the way.

    Parameters
    ----------
    progress
        Called with the bytes written so far, behind each write. What it raises ends the writing.
    """

    def __init__(self, file: File, incremental_fsync: bool, progress: Callable[[int], None] | None = None) -> None:
        self.written = 0
        self._file = file
        self._incremental = incremental_fsync
        self._progress = progress
        self._synced = 0

    def write(self, data: bytes | bytearray) -> None:
        """Write all of `data`."""
        with memoryview(data) as rest:
            start = 0
            while start < len(rest):
                # A huge value is cut where a sync is due.
                end = min(len(rest), start + self._synced + SYNC_BYTES - self.written)
                write_all(self._file, rest[start:end])
                self.written += end - start
                start = end
                if self.written - self._synced == SYNC_BYTES:
                    self._synced = self.written
                    if self._incremental:
                        self._file.fdatasync()
        if self._progress is not None:
            self._progress(self.written)

    def finish(self) -> int:
        """Sync the file; its size."""
        self._file.fdatasync()
        return self.written


def write_keyspace(
    fs: Fs,
    path: str,
    keyspace: Keyspace,
    form: BaseForm,
    config: Config,
    *,
    each_key: Callable[[], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Write all of `keyspace` to the new file `path` and sync it; the file is closed in any case, removed in none.

    Parameters
    ----------
    fs, path
        Where; what is there is replaced.
    keyspace
        What; it must not change meanwhile. Overdue keys are written as well: the log behind may refer to them.
    form
        How.
    config
        Settings that decide on the form of lists.
    each_key
        Called behind each key. What it or `progress` raises ends the writing.
    progress
        Called with the bytes written so far, about once a MiB.

    Returns
    -------
    int
        Size of the file in bytes.

    Raises
    ------
    OSError
        As the operating system gives it.
    """
    if form.suffix == "aof":
        return write_base(
            fs,
            path,
            commands_of(keyspace, each_key),
            timestamp_s=form.now_s if form.timestamp else None,
            incremental_fsync=form.incremental_fsync,
            progress=progress,
        )
    file = fs.create(path)
    try:
        base = BaseFile(file, form.incremental_fsync, progress)
        write_rdb(
            base,
            keyspace,
            aux=form.aux,
            config=config,
            compressed=form.compressed,
            checksum=form.checksum,
            each_key=each_key,
        )
        return base.finish()
    finally:
        file.close()


def write_base(
    fs: Fs,
    path: str,
    records: Iterable[Record],
    *,
    timestamp_s: int | None = None,
    incremental_fsync: bool = True,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Write `records` to the new file `path` and sync it; the file is closed in any case, removed in none.

    Parameters
    ----------
    fs, path
        Where; what is there is replaced.
    records
        ``(db, argv)``; a SELECT is put before the first record of another database, but for a negative `db`,
        which stands for records that belong to no database.
    timestamp_s
        The file begins with an annotation of this time, if given.
    incremental_fsync
        Sync every 4 MiB, so that the last fsync does not stall the disk.
    progress
        Called with the bytes written so far, about once a MiB. What it raises ends the writing.

    Returns
    -------
    int
        Size of the file in bytes.

    Raises
    ------
    OSError
        As the operating system gives it.
    """
    file = fs.create(path)
    try:
        base = BaseFile(file, incremental_fsync, progress)
        buf = bytearray()
        if timestamp_s is not None:
            buf += b"#TS:%d\r\n" % timestamp_s
        selected_db = -1
        for db, argv in records:
            if db != selected_db and db >= 0:
                buf += encode_command([b"SELECT", b"%d" % db])
                selected_db = db
            buf += encode_command(argv)
            if len(buf) >= _WRITE_BYTES:
                base.write(buf)
                buf.clear()
        base.write(buf)
        return base.finish()
    finally:
        file.close()


def key_delay(delay: int, sleep: Callable[[float], None] = time.sleep) -> Callable[[], None] | None:
    """What to call behind each key for the setting rdb-key-save-delay; None for nothing."""
    if delay == 0:
        return None
    if delay > 0:
        return lambda: sleep(delay / 1e6)
    done = 0

    def now_and_then() -> None:
        nonlocal done
        done += 1
        if done % -delay == 0:
            sleep(1e-6)

    return now_and_then


def growth_triggers_rewrite(current: int, base: int, percentage: int, min_size: int) -> bool:
    """Whether a log of `current` bytes has outgrown its `base` enough for an automatic rewrite.

    >>> growth_triggers_rewrite(2081, 0, 100, 2000), growth_triggers_rewrite(2515, 1258, 100, 2000)
    (True, False)
    """
    if percentage == 0 or current <= min_size:
        return False
    return current * 100 // (base or 1) - 100 >= percentage


class Backoff:
    """Slows rewrites that nobody asked for down after three failures in a row: one minute, then 2, 4, ... 60."""

    THRESHOLD = 3
    MAX_MINUTES = 60

    def __init__(self) -> None:
        self.failures = 0
        self._minutes = 0
        self._next_s: float | None = None

    def succeeded(self) -> None:
        """A rewrite ended well, or someone asked for one: start counting anew."""
        self.failures = 0
        self._minutes = 0
        self._next_s = None

    def failed(self, now_s: float) -> int | None:
        """A rewrite failed at `now_s`, a monotonic time in seconds; minutes to wait, if that begins now."""
        self.failures += 1
        if self.failures < self.THRESHOLD or self._next_s is not None:
            return None
        self._minutes = min(self._minutes * 2, self.MAX_MINUTES) or 1
        self._next_s = now_s + self._minutes * 60
        return self._minutes

    def not_begun(self, now_s: float) -> None:
        """The files could not be switched at `now_s`.

        Redis does not count that as a failure, and tries again ten times a second; a minute is often enough.
        """
        self._next_s = now_s + 60

    def allows(self, now_s: float) -> bool:
        """Whether a rewrite that nobody asked for just now may start at `now_s`."""
        if self._next_s is None:
            return True
        if now_s < self._next_s:
            return False
        # One attempt; its failure starts a longer wait.
        self._next_s = None
        return True
