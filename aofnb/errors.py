"""Every exception of the project.

::

    AofnbError
        ReplyError       a reply a Redis server would also give; str() is the wire text, .code its first word
        AofError         the files: .file, .offset
            AofTruncatedError, AofFormatError, AofManifestError, AofWriteError, AofLockedError
        RdbError         a snapshot: .file, .offset, .opcode
        ConfigError      a setting that cannot be
        RemoteError      a real server cannot be reached
        StoreClosedError the store was closed, or belongs to another process

A message says what is wrong, where, and ends with what to do about it.
"""

from __future__ import annotations

import os

__all__ = [
    "AofError",
    "AofFormatError",
    "AofLockedError",
    "AofManifestError",
    "AofTruncatedError",
    "AofWriteError",
    "AofnbError",
    "ConfigError",
    "RdbError",
    "RemoteError",
    "ReplyError",
    "StoreClosedError",
]


class AofnbError(Exception):
    """Base of all errors raised by aofnb."""


class ReplyError(AofnbError):
    """A reply that a Redis server would also give; ``str()`` is the wire text without its ``-``."""

    @property
    def code(self) -> str:
        """First word of the reply: ``ERR``, ``WRONGTYPE``, ``MISCONF``, ..."""
        return str(self).split(" ", 1)[0]


class _FileError(AofnbError):
    """An error with a place: what `AofError` and `RdbError` share."""

    def __init__(self, message: str, *, file: str | os.PathLike[str] | None = None, offset: int | None = None) -> None:
        self.message = message
        self.file = None if file is None else os.fspath(file)
        self.offset = offset
        super().__init__(message)

    def __str__(self) -> str:
        if self.file is None:
            return self.message
        place = self.file if self.offset is None else f"{self.file}, byte {self.offset}"
        return f"{place}: {self.message}"


class AofError(_FileError):
    """Something about the log's files.

    Parameters
    ----------
    message
        What is wrong and what to do.
    file
        The file it is about, if one.
    offset
        Byte offset in that file, if known.
    """


class AofTruncatedError(AofError):
    """The file ends inside a command or inside a transaction."""


class AofFormatError(AofError):
    """Bytes that cannot begin or continue a command, or a command that cannot be."""


class AofManifestError(AofError):
    """The manifest is malformed, or does not fit the files beside it."""


class AofWriteError(AofError):
    """write(2) or fsync failed: the command that met it is not acknowledged."""


class AofLockedError(AofError):
    """Another process, or another store of this process, writes to the directory."""


class RdbError(_FileError):
    """Something about a snapshot: ``.file``, ``.offset`` and ``.opcode`` say where."""

    def __init__(
        self,
        message: str,
        *,
        file: str | os.PathLike[str] | None = None,
        offset: int | None = None,
        opcode: int | None = None,
    ) -> None:
        self.opcode = opcode
        super().__init__(message, file=file, offset=offset)


class ConfigError(AofnbError):
    """A setting that cannot be: unknown name, bad value, or not changeable now."""


class StoreClosedError(AofnbError):
    """The store was closed, or was inherited by a forked child that must not write."""


class RemoteError(AofnbError):
    """A real server cannot be reached, or the connection to it broke."""
