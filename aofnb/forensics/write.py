"""Rows back to a file: an append-only file of chosen commands that every server loads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from os import PathLike
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from aofnb.forensics.analysis import needs
from aofnb.forensics.reread import FrameRows
from aofnb.resp.encode import encode_command

__all__ = ["write_rows"]

_LOADED = ("ok", "lf_repaired", "resynced", "unknown_command")
_BUFFER_BYTES = 1 << 20


def write_rows(frame: pd.DataFrame, rows: FrameRows, dest: str | PathLike[str]) -> int:
    """Write the commands of the rows of `frame`, which `rows` finds; returns the size of the file in bytes."""
    needs(frame, "db")
    if "status" in frame.columns:
        bad = ~frame["status"].isin(_LOADED).to_numpy()
        if bad.any():
            raise ValueError(
                f"row {frame.index[int(np.flatnonzero(bad)[0])]} is {frame['status'][bad].iloc[0]}: a server would not "
                "have run it; leave such rows out (df[df.status == 'ok'])"
            )
    with open(dest, "xb", buffering=_BUFFER_BYTES) as file:
        for record in _records_of(frame, rows):
            file.write(record)
        file.flush()
        os.fsync(file.fileno())
        return file.tell()


def _records_of(frame: pd.DataFrame, rows: FrameRows) -> Iterator[bytes]:
    """The bytes of each command, with SELECT where the database changes and whole transactions only."""
    names = _names_of(frame, rows)
    written = ~np.isin(names, [b"SELECT", b"MULTI", b"EXEC"])
    dbs = frame["db"].to_numpy().copy()
    for begin, end in _whole_transactions(frame, names):
        written[[begin, end]] = True
        # In front of MULTI is where a server of today puts a SELECT.
        inside = np.flatnonzero(written[begin + 1 : end]) + begin + 1
        if len(inside):
            dbs[begin], dbs[end] = dbs[inside[0]], dbs[inside[-1]]
    selected: int | None = None
    for record, is_written, db in zip(rows.encoded(), written.tolist(), dbs.tolist(), strict=True):
        if not is_written:
            continue
        if db != selected:
            selected = db
            yield encode_command([b"SELECT", b"%d" % db])
        yield record


def _names_of(frame: pd.DataFrame, rows: FrameRows) -> npt.NDArray[Any]:
    """The name of each command in upper case, of containers without what is behind; as objects."""
    if "cmd" in frame.columns:
        codes, names = pd.factorize(frame["cmd"], use_na_sentinel=False)
        spelled = [str(name).split(" ", 1)[0].encode() for name in names]
    else:
        verbs = rows.argument(0).dictionary_encode()
        verbs = verbs.combine_chunks() if hasattr(verbs, "combine_chunks") else verbs
        codes, spelled = verbs.indices.to_numpy(), [name.upper() for name in verbs.dictionary.to_pylist()]
    return np.array([*spelled, None], object)[codes]


def _whole_transactions(frame: pd.DataFrame, names: npt.NDArray[Any]) -> Iterator[tuple[int, int]]:
    """Places of each MULTI and EXEC that are both in the frame, and of one transaction."""
    if "txn" not in frame.columns:
        return
    begun: dict[int, int] = {}
    places = np.flatnonzero(frame["txn"].notna().to_numpy() & np.isin(names, [b"MULTI", b"EXEC"]))
    for row, txn in zip(places.tolist(), frame["txn"].iloc[places].tolist(), strict=True):
        if names[row] == b"MULTI":
            begun.setdefault(txn, row)
        elif txn in begun:
            yield begun.pop(txn), row
