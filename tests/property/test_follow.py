"""Following a log gives the rows of the log read whole, none twice, none lost, whatever its server does meanwhile."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st
from support.long_way import examples
from support.random_logs import Commands, random_commands, seeds, snapshot_of, write_manifest

import aofnb
from aofnb.clock import FakeClock
from aofnb.errors import AofError
from aofnb.forensics import follow
from aofnb.forensics.scan import scan_file
from aofnb.resp.encode import encode_command

COLUMNS = ["part", "offset", "nbytes", "ts", "db", "txn", "cmd", "key", "nkeys", "argc", "status", "args"]


def units_of(commands: Commands, rng: random.Random) -> Iterator[bytes]:
    """What a server writes at once: commands and whole transactions, some with the time in front."""
    unit, in_multi = b"", False
    for argv in commands:
        if not unit and rng.random() < 0.1:
            unit = b"#TS:%d\r\n" % (1_790_000_000 + rng.randrange(100))
        unit += encode_command(argv)
        in_multi = argv[0] == b"MULTI" or (in_multi and argv[0] != b"EXEC")
        if not in_multi:
            yield unit
            unit = b""


class Server:
    """What writes a log of several files, or of one. What it writes at once may come in pieces, or be torn.

    Attributes
    ----------
    path
        What to scan.
    lost
        Names of files that came and went while nobody looked.
    """

    def __init__(self, home: Path, units: list[bytes], base: bytes, in_parts: bool) -> None:
        self.path = home if in_parts else home / "x.aof"
        self.lost: set[str] = set()
        self._home, self._units, self._in_parts = home, units, in_parts
        # What is left of the unit that is being written, and where it begins.
        self._rest, self._begin = b"", 0
        # By kind what is in the manifest, and how many there ever were; which nobody saw yet; and what was deleted.
        self._names: dict[str, list[str]] = {"b": [], "i": [], "h": []}
        self._made = {"b": 0, "i": 0}
        self._unseen: set[str] = set()
        self._deleted: dict[str, bytes] = {}
        self._first: dict[str, bytes] = {}
        self._open("b" if in_parts else "i", base)
        if in_parts:
            self._open("i")

    def do(self, steps: list[tuple[str, int]]) -> None:
        """Methods by their names, of which `write` takes a number."""
        for what, size in steps:
            getattr(self, what)(*[size] * (what == "write"))

    def begin(self) -> None:
        """Somebody sees the log for the first time."""
        self.lost.clear()
        self._deleted.clear()
        self._first = {name: (self._home / name).read_bytes() for name in self._names["b"]}
        self.look()

    def look(self) -> None:
        """Somebody sees all files of the manifest."""
        self._unseen.clear()

    def copied(self, directory: Path) -> Path:
        """All that anybody could see since the beginning, as one log; returns what to scan."""
        names = [name for kind in "hi" for name in self._names[kind]]
        files = self._deleted | {name: (self._home / name).read_bytes() for name in names}
        numbers = {name: int(name.split(".")[2]) for name in files if ".incr." in name and name not in self.lost}
        if not self._in_parts:
            return self.path
        names = [*self._first, *sorted(numbers, key=numbers.__getitem__)]
        for name in names:
            (directory / name).write_bytes((files | self._first)[name])
        write_manifest(directory, [(name, "b" if name in self._first else "i") for name in names])
        return directory

    def write(self, size: int) -> None:
        """The next bytes."""
        while size > 0 and (self._rest or self._units):
            if not self._rest:
                self._rest, self._begin = self._units.pop(0), self._file.stat().st_size
            piece, self._rest = self._rest[:size], self._rest[size:]
            size -= len(piece)
            with self._file.open("ab") as file:
                file.write(piece)

    def begin_rewrite(self) -> None:
        """What comes from now on is for a new file."""
        if self._in_parts:
            self.write(len(self._rest))
            self._open("i")
            self._rest = encode_command([b"SELECT", b"1"])

    def end_rewrite(self) -> None:
        """A new base takes the place of all but the last file."""
        if len(self._names["i"]) > 1:
            gone = self._names["b"] + self._names["i"][:-1]
            self.lost |= self._unseen.intersection(self._names["i"][:-1])
            self._names |= {"b": [], "i": self._names["i"][-1:], "h": self._names["h"] + gone}
            written = self._file, self._begin
            self._open("b", encode_command([b"SET", b"rewritten", b"1"]))
            self._file, self._begin = written

    def delete(self) -> None:
        """Let go of what was replaced."""
        for name in self._names["h"]:
            self._deleted[name] = (self._home / name).read_bytes()
            (self._home / name).unlink()
        self._names["h"] = []
        self._write_manifest()

    def restart(self) -> None:
        """A server that loads the log cuts a unit that was torn."""
        if self._rest:
            with self._file.open("r+b") as file:
                file.truncate(self._begin)
            self._rest = b""

    def _open(self, kind: str, content: bytes = b"") -> None:
        self._made[kind] += 1
        suffix = "rdb" if content.startswith(b"REDIS") else "aof"
        name = f"x.aof.{self._made[kind]}.{'base' if kind == 'b' else 'incr'}.{suffix}" if self._in_parts else "x.aof"
        self._file, self._begin = self._home / name, len(content)
        self._file.write_bytes(content)
        self._names[kind].append(name)
        self._unseen.add(name)
        self._write_manifest()

    def _write_manifest(self) -> None:
        if self._in_parts:
            lines = [
                f"file {name} seq {name.split('.')[2]} type {kind}\n" for kind in "bhi" for name in self._names[kind]
            ]
            (self._home / "x.aof.manifest").write_text("".join(lines))


class Looking(FakeClock):
    """A clock whose waiting is when the server does its next steps."""

    def __init__(self, server: Server, looks: list[list[tuple[str, int]]]) -> None:
        super().__init__()
        self.server, self.looks = server, list(looks)
        self.follow: Any = None
        # Whether what was read already was changed.
        self.changed = False

    def wait(self, condition: object, timeout_s: float | None) -> None:
        assert not self.changed, "this was to be an error"
        self.server.look()
        if not self.looks:
            self.follow.stop()
            return
        path = self.follow.part.path
        with open(path, "rb", buffering=0) as file:
            seen = file.read(self.follow.offset)
            self.server.do(self.looks.pop(0))
            file.seek(0)
            self.changed = file.read(len(seen)) != seen


def plain(frame: pd.DataFrame) -> list[list[Any]]:
    """Its rows, with their numbers, as they compare."""
    rows = frame[COLUMNS].astype(object).reset_index().values.tolist()
    return [[seq, *(None if each is pd.NaT else repr(each) for each in row)] for seq, *row in rows]


def whole(path: Path) -> list[list[Any]]:
    """The rows of whole units in a log read at once."""
    frame = aofnb.scan(path, on_bad="truncate", cache_dir=False).to_pandas(columns=COLUMNS)
    return plain(frame[~frame["status"].isin(["truncated", "discarded"])])


writes = st.tuples(st.just("write"), st.integers(1, 200))
others = st.sampled_from([(what, 0) for what in ("begin_rewrite", "end_rewrite", "delete", "restart")])
# What is torn is cut, and others grow over what was there.
crashes = writes.map(lambda write: [("restart", 0), write])
steps = st.lists((writes | writes | others).map(lambda step: [step]) | crashes, max_size=5).map(
    lambda some: [step for each in some for step in each]
)


@examples(60)
@given(
    seed=seeds,
    in_parts=st.booleans(),
    with_base=st.booleans(),
    before=st.just([]) | steps,
    meanwhile=st.integers(0, 200),
    looks=st.lists(steps, max_size=8),
    chunk_bytes=st.sampled_from([40, 4 << 20]),
)
def test_what_is_followed_is_the_log(
    seed, in_parts, with_base, before, meanwhile, looks, chunk_bytes, tmp_path_factory, caplog, monkeypatch
):
    caplog.clear()
    monkeypatch.setattr(follow, "scan_file", partial(scan_file, chunk_bytes=chunk_bytes))
    home, copy = tmp_path_factory.mktemp("log"), tmp_path_factory.mktemp("copy")
    rng = random.Random(seed)
    base = snapshot_of(random_commands(rng, 40), home) if with_base else b""
    server = Server(home, list(units_of(random_commands(rng, 60), rng)), base, in_parts)
    server.do(before)
    server.delete()
    server.begin()
    log = aofnb.scan(server.path, on_bad="truncate", cache_dir=False)
    server.write(meanwhile)
    known = whole(server.path)
    clock = Looking(server, looks)
    frames = []
    with log.follow(columns=COLUMNS, clock=clock) as clock.follow:
        try:
            frames += clock.follow
        except AofError as problem:
            # Not because what is there cannot be read.
            assert clock.changed, problem
            assert type(problem) is AofError
        else:
            assert not clock.changed
    found = [row for frame in frames for row in plain(frame)]
    first = found[0][0] if found else 0
    assert [row[0] for row in found] == list(range(first, first + len(found)))
    if not clock.changed:
        # The SELECT that stands for the end of a snapshot has no bytes: nobody wrote it.
        nbytes = COLUMNS.index("nbytes") + 1
        assert found == [row for row in whole(server.copied(copy))[len(known) :] if row[nbytes] != "0"]
        said = [re.match("([0-9]+) files? came and went", record.getMessage()) for record in caplog.records]
        assert sum(int(each[1]) for each in said) == len(server.lost)
