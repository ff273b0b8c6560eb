"""Rows back to a file: an append-only file of chosen commands that every server loads."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from os import PathLike

import numpy as np
import pandas as pd

from aofnb.resp.encode import encode_command

__all__ = ["records_of", "write_rows"]

_LOADED = ("ok", "lf_repaired", "resynced", "unknown_command")


def write_rows(frame: pd.DataFrame, argvs: Sequence[Sequence[bytes]], dest: str | PathLike[str]) -> int:
    """Write the commands `argvs` of the rows of `frame`; returns the size of the file in bytes."""
    if "status" in frame.columns:
        bad = ~frame["status"].isin(_LOADED).to_numpy()
        if bad.any():
            raise ValueError(
                f"row {frame.index[int(np.flatnonzero(bad)[0])]} is {frame['status'][bad].iloc[0]}: a server would not "
                "have run it; leave such rows out (df[df.status == 'ok'])"
            )
    with open(dest, "xb") as file:
        for record in records_of(frame, argvs):
            file.write(record)
        file.flush()
        os.fsync(file.fileno())
        return file.tell()


def records_of(frame: pd.DataFrame, argvs: Sequence[Sequence[bytes]]) -> Iterator[bytes]:
    """The bytes of each command, with SELECT where the database changes and whole transactions only."""
    dbs = frame["db"].tolist()
    framed = _whole_transactions(frame, argvs)
    selected: int | None = None
    queued: list[bytes] = []
    open_ = False
    for row, argv in enumerate(argvs):
        name = argv[0].upper()
        if name == b"SELECT":
            continue
        if name in (b"MULTI", b"EXEC"):
            if row in framed:
                queued.append(encode_command(argv))
                open_ = name == b"MULTI"
                if not open_:
                    yield from queued
                    queued.clear()
            continue
        if dbs[row] != selected:
            selected = dbs[row]
            record = encode_command([b"SELECT", b"%d" % selected])
            # In front of MULTI is where a server of today puts it.
            if open_ and len(queued) == 1:
                queued.insert(0, record)
            else:
                queued.append(record)
        queued.append(encode_command(argv))
        if not open_:
            yield from queued
            queued.clear()


def _whole_transactions(frame: pd.DataFrame, argvs: Sequence[Sequence[bytes]]) -> set[int]:
    """Places of the MULTI and EXEC whose counterpart is in the frame, too."""
    if "txn" not in frame.columns:
        return set()
    begun: dict[int, int] = {}
    framed: set[int] = set()
    for row, (txn, argv) in enumerate(zip(frame["txn"].tolist(), argvs, strict=True)):
        if txn is pd.NA:
            continue
        name = argv[0].upper()
        if name == b"MULTI":
            begun.setdefault(txn, row)
        elif name == b"EXEC" and txn in begun:
            framed |= {begun[txn], row}
    return framed
