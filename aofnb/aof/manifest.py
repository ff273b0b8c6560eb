"""The manifest: which files make up the log, in which order.

Rules of this file: a `Manifest` never changes; a change makes a new one, which counts only once `persist` returned.
What redis-server refuses is refused, what it accepts is accepted, but for what can only lose data: a file listed
twice, a name that is empty.

Redis: aof.c aofLoadManifestFromFile, persistAofManifest; sds.c sdssplitargs, sdscatrepr (7.0.15).
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Container
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Literal, NoReturn, Self

from aofnb.aof.fs import Fs, write_all
from aofnb.errors import AofManifestError, AofWriteError

__all__ = ["AofFile", "AofType", "Manifest", "ManifestPublishedError", "Suffix", "sync_dir"]

AofType = Literal["base", "incr", "history"]
# Of a base, by its form; files are told apart by their content all the same.
Suffix = Literal["rdb", "aof"]

# A line with its line end; redis-server reads into a buffer one larger.
LINE_MAX = 1024
_TYPES: dict[bytes, AofType] = {b"b": "base", b"i": "incr", b"h": "history"}
_LETTERS = {"base": "b", "incr": "i", "history": "h"}
_DECIMAL = re.compile(rb"[ \t\n\v\f\r]*([+-]?[0-9]+)")
_BLANKS = b" \t\n\v\f\r"
_ESCAPES = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"a": b"\a"}
_ESCAPED = {ord("\\"): "\\\\", ord('"'): '\\"', 10: "\\n", 13: "\\r", 9: "\\t", 7: "\\a", 8: "\\b"}

_REMEDY = "the data files are untouched; keep a copy of the directory, then correct the line"


class ManifestPublishedError(AofWriteError):
    """The new manifest is in place, but a power cut may still bring the old one back."""


@dataclass(frozen=True, slots=True)
class AofFile:
    """One file of the log: its name inside the directory, its number, what it is."""

    name: str
    seq: int
    type: AofType

    def format(self) -> str:
        """Its line of the manifest, without the line end.

        >>> AofFile("my data.aof.1.base.rdb", 1, "base").format()
        'file "my data.aof.1.base.rdb" seq 1 type b'
        """
        return f"file {_quoted(self.name)} seq {self.seq} type {_LETTERS[self.type]}"


@dataclass(frozen=True, slots=True)
class Manifest:
    """The files of the log.

    Attributes
    ----------
    prefix
        What all names begin with: the setting appendfilename.
    base
        The snapshot that is loaded first, if one.
    incrs
        The logs that are loaded after it, oldest first; the last one grows.
    history
        Replaced by others and waiting to be deleted; never loaded.
    """

    prefix: str
    base: AofFile | None = None
    incrs: tuple[AofFile, ...] = ()
    history: tuple[AofFile, ...] = ()
    # The lines as read, for messages.
    source: str | None = field(default=None, compare=False, repr=False)

    @property
    def filename(self) -> str:
        """Name of the manifest itself."""
        return f"{self.prefix}.manifest"

    @property
    def data_files(self) -> tuple[AofFile, ...]:
        """What is loaded, in order."""
        return ((self.base,) if self.base is not None else ()) + self.incrs

    @property
    def all_files(self) -> tuple[AofFile, ...]:
        """Every entry, in the order of the lines."""
        return ((self.base,) if self.base is not None else ()) + self.history + self.incrs

    # --- changes -----------------------------------------------------------------------------------------

    def with_new_incr(self, taken: Container[str] = ()) -> Self:
        """One more incr, with the next number whose name is not in `taken`."""
        seq = max((incr.seq for incr in self.incrs), default=0) + 1
        names = {entry.name for entry in self.all_files}
        while (name := f"{self.prefix}.{seq}.incr.aof") in names or name in taken:
            seq += 1
        return replace(self, incrs=(*self.incrs, AofFile(name, seq, "incr")))

    def with_new_base(self, suffix: Suffix = "aof", *, keep_incrs: int = 1) -> Self:
        """A new base that stands for the old base and all incrs but the last `keep_incrs`."""
        seq = (self.base.seq if self.base is not None else 0) + 1
        names = {entry.name for entry in self.all_files}
        while (name := f"{self.prefix}.{seq}.base.{suffix}") in names:
            seq += 1
        covered = self.incrs[: len(self.incrs) - keep_incrs]
        old = covered + ((self.base,) if self.base is not None else ())
        return replace(
            self,
            base=AofFile(name, seq, "base"),
            incrs=self.incrs[len(covered) :],
            # The order in which redis-server lists them.
            history=tuple(replace(entry, type="history") for entry in old) + self.history,
        )

    def without_history(self, keep: Container[str] = ()) -> Self:
        """Without the history entries, but for the names in `keep`."""
        return replace(self, history=tuple(entry for entry in self.history if entry.name in keep))

    # --- text --------------------------------------------------------------------------------------------

    def format(self) -> str:
        """The text of the manifest file."""
        return "".join(entry.format() + "\n" for entry in self.all_files)

    def persist(self, fs: Fs, dirname: str, filename: str | None = None) -> None:
        """Put this in the place of the manifest in the directory `dirname`, in one step, and make it durable.

        1. write a temporary file and sync it; 2. rename it over the manifest; 3. sync the directory.

        Raises
        ------
        AofWriteError
            1 or 2 failed: the old manifest is in force.
        ManifestPublishedError
            3 failed: this manifest is in force, until a power cut possibly undoes the rename.
        """
        filename = filename or self.filename
        target = os.path.join(dirname, filename)
        temp = os.path.join(dirname, f"temp-{filename}")
        try:
            file = fs.create(temp)
            try:
                write_all(file, os.fsencode(self.format()))
                file.fdatasync()
            finally:
                file.close()
            fs.rename(temp, target)
        except OSError as problem:
            # Never made, or the disk is gone: the next start removes temporary files.
            with suppress(OSError):
                fs.unlink(temp)
            raise AofWriteError(
                f"the new manifest cannot be written: {problem.strerror}; the old one is in force", file=target
            ) from problem
        try:
            sync_dir(fs, dirname)
        except OSError as problem:
            raise ManifestPublishedError(
                f"the directory of the new manifest cannot be synced: {problem.strerror}; mend the disk", file=target
            ) from problem

    @classmethod
    def load(cls, fs: Fs, dirname: str, prefix: str) -> Self:
        """Read the manifest of `prefix` in the directory `dirname`.

        Raises
        ------
        AofManifestError
            It is malformed; says which line and why.
        OSError
            It cannot be read; FileNotFoundError if there is none.
        """
        path = os.path.join(dirname, f"{prefix}.manifest")
        with fs.open_read(path) as file:
            return cls.parse(file.read(), prefix, file=path)

    @classmethod
    def parse(cls, data: bytes, prefix: str, *, file: str | None = None) -> Self:
        """The manifest whose file holds `data`.

        Raises
        ------
        AofManifestError
            With the number of the line at fault.
        """
        if not data:
            raise AofManifestError(
                "the manifest is empty, as a power cut can leave it; list the files of the directory in it "
                "(base first, then each incr), or restore it from a backup",
                file=file,
                offset=0,
            )
        base: AofFile | None = None
        incrs: list[AofFile] = []
        history: list[AofFile] = []
        names: set[str] = set()
        offset = number = 0
        while offset < len(data):
            number += 1
            end = data.find(b"\n", offset, offset + LINE_MAX) + 1 or min(len(data), offset + LINE_MAX)
            line = data[offset:end]
            place = _Place(file, offset, number, line)
            offset = end
            # As in redis-server, a comment needs no line end, and what follows its 1024th byte is a line of its own.
            if line.startswith(b"#"):
                continue
            if b"\n" not in line.split(b"\0", 1)[0]:
                place.refuse("the line is too long, has no line end, or holds a zero byte")
            entry = _entry(line.strip(b" \t\r\n"), place)
            if entry.name in names:
                place.refuse("the file is listed twice")
            names.add(entry.name)
            if entry.type == "base":
                if base is not None:
                    place.refuse("a second base")
                base = entry
            elif entry.type == "history":
                history.append(entry)
            else:
                if entry.seq <= (incrs[-1].seq if incrs else 0):
                    place.refuse("the seq of an incr must be greater than that of the one before")
                incrs.append(entry)
        return cls(prefix, base, tuple(incrs), tuple(history), os.fsdecode(data))


@dataclass(frozen=True, slots=True)
class _Place:
    """A line of a manifest, for messages."""

    file: str | None
    offset: int
    number: int
    line: bytes

    def refuse(self, why: str) -> NoReturn:
        shown = self.line.rstrip(b"\r\n")[:80].decode("utf-8", "backslashreplace")
        raise AofManifestError(
            f"line {self.number} ({shown!r}): {why}; {_REMEDY}", file=self.file, offset=self.offset
        ) from None


def _entry(line: bytes, place: _Place) -> AofFile:
    """The entry that `line` spells."""
    try:
        words = _split_args(line)
    except ValueError as problem:
        place.refuse(str(problem))
    if len(words) < 6 or len(words) % 2:
        place.refuse("an entry is pairs of a key and a value, at least: file NAME seq NUMBER type b|i|h")
    # A later pair of the same key wins; keys nobody knows are for newer versions.
    pairs = {key.lower(): value for key, value in zip(words[::2], words[1::2], strict=True)}
    missing = [key.decode() for key in (b"file", b"seq", b"type") if not pairs.get(key)]
    if missing:
        place.refuse(f"{' and '.join(missing)} missing")
    name = os.fsdecode(pairs[b"file"])
    if "/" in name or "\\" in name:
        place.refuse("file must be a name inside the directory, not a path")
    if "\0" in name:
        # redis-server reads the name up to there.
        place.refuse("the name of a file cannot hold a zero byte")
    match = _DECIMAL.match(pairs[b"seq"])
    seq = int(match[1]) if match else 0
    if seq == 0:
        place.refuse("seq must be a number other than 0")
    kind = _TYPES.get(pairs[b"type"][:1])
    if kind is None:
        place.refuse("type must be b (base), i (incr) or h (history)")
    return AofFile(name, seq, kind)


def _split_args(line: bytes) -> list[bytes]:
    r"""Words of a line as redis.conf splits them: double quotes with escapes, single quotes with an escaped one only.

    >>> _split_args(rb'''file "a\x20b" 'c d' e''')
    [b'file', b'a b', b'c d', b'e']
    """
    words: list[bytes] = []
    at = 0
    while True:
        while line[at : at + 1] and line[at] in _BLANKS:
            at += 1
        if at == len(line):
            return words
        word = bytearray()
        while at < len(line) and line[at] not in _BLANKS:
            char = line[at : at + 1]
            if char == b'"' or char == b"'":
                at = _quoted_part(line, at, word)
            else:
                word += char
                at += 1
        words.append(bytes(word))


def _quoted_part(line: bytes, at: int, word: bytearray) -> int:
    """Add what the quotes that open at `at` hold to `word`; the place behind the closing one."""
    quote = line[at : at + 1]
    at += 1
    while (char := line[at : at + 1]) != quote:
        if not char:
            raise ValueError("a quote is not closed")
        if char == b"\\" and quote == b'"':
            hexadecimal = re.compile(rb"\\x([0-9a-fA-F]{2})").match(line, at)
            if hexadecimal:
                word.append(int(hexadecimal[1], 16))
                at += 4
                continue
            escaped = line[at + 1 : at + 2]
            if not escaped:
                raise ValueError("a quote is not closed")
            word += _ESCAPES.get(escaped, escaped)
            at += 2
        elif char == b"\\" and line[at + 1 : at + 2] == b"'":
            word += b"'"
            at += 2
        else:
            word += char
            at += 1
    if line[at + 1 : at + 2] and line[at + 1] not in _BLANKS:
        raise ValueError("a closing quote must be followed by a blank")
    return at + 1


def _quoted(name: str) -> str:
    """`name` as it stands in a manifest, in quotes if it must be.

    A single quote asks for quotes too: redis-server writes it bare and then cannot read it back.
    """
    raw = os.fsencode(name)
    if raw and all(33 <= byte <= 126 and byte not in b"\\\"'" for byte in raw) and not raw.startswith(b"#"):
        return name
    return (
        '"'
        + "".join(_ESCAPED.get(byte) or (chr(byte) if 32 <= byte <= 126 else f"\\x{byte:02x}") for byte in raw)
        + '"'
    )


def sync_dir(fs: Fs, path: str) -> None:
    """Make the names in the directory `path` durable; no error where directories cannot be synced at all."""
    try:
        fs.fsync_dir(path)
    except OSError as problem:
        if problem.errno not in (errno.EBADF, errno.EINVAL):
            raise
