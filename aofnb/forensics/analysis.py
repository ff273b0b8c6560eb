"""Answers from a frame of commands, as ``df.aof`` gives them: every function takes rows of `read_aof`.

A key is counted once per command and kind; rows of unknown commands have no key, so answers about keys are without
them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa

from aofnb.forensics.kinds import Kinds, text_of
from aofnb.forensics.roles import Role, key_roles, sole_role

__all__ = [
    "Argvs",
    "big_values",
    "deadline_of",
    "events",
    "hot_keys",
    "kinds_of",
    "needs",
    "rate",
    "templates",
    "transactions",
    "ttl",
]

Argv = Sequence[bytes]
# From a mask to the arguments of its rows.
Argvs = Callable[[Any], Iterable[list[bytes]]]
_ROLES: tuple[Role, ...] = ("OW", "RW", "RO", "RM")
# Keys as text, and where they begin, are counted in 32 bits.
_PIECE_ROWS = 1 << 18
_ABSOLUTE = {b"PXAT": 1, b"EXAT": 1000}
# Command -> (place of the deadline, milliseconds of one of its units).
_AT_PLACE = {b"PEXPIREAT": (2, 1), b"EXPIREAT": (2, 1000)}


def needs(frame: pd.DataFrame, *columns: str) -> None:
    """Say which of `columns` the frame lacks.

    Raises
    ------
    ValueError
        At least one.
    """
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise ValueError(f"this needs the column {' and '.join(missing)}: read the log with it among columns=")


def events(frame: pd.DataFrame, argvs: Argvs) -> pd.DataFrame:
    """One row per command and key; `argvs` gives the arguments of the rows of a mask."""
    needs(frame, "cmd", "key", "nkeys", "db")
    nkeys = frame["nkeys"].to_numpy()
    codes, names = pd.factorize(frame["cmd"])
    # The role of a sole key follows from the name, but for SET, whose options count.
    sole = np.array([*(_ROLES.index(role) if (role := sole_role(name)) else -1 for name in names), -1])[codes]
    sole[_is_plain_set(frame)] = _ROLES.index("OW")
    read = (nkeys > 1) | ((nkeys == 1) & (sole < 0))
    single = np.flatnonzero((nkeys == 1) & ~read)
    rows, found, roles = [], [], []
    encode = _like(frame)
    for row, argv in zip(np.flatnonzero(read).tolist(), argvs(read), strict=True):
        for key, role in key_roles(argv):
            rows.append(row)
            found.append(encode(key))
            roles.append(_ROLES.index(role))
    place = np.concatenate([single, np.array(rows, np.int64)])
    order = np.argsort(place, kind="stable")
    place = place[order]
    keys = pd.concat([frame["key"].iloc[single], pd.Series(found, dtype=frame["key"].dtype)])
    made = pd.DataFrame(
        {
            "seq": frame.index.to_numpy()[place],
            "db": frame["db"].to_numpy()[place],
            "cmd": frame["cmd"].iloc[place].array,
            "key": keys.iloc[order].array,
            "role": pd.Categorical.from_codes(
                np.concatenate([sole[single], np.array(roles, np.int64)])[order], pd.Index(_ROLES)
            ),
        }
    )
    for name in ("ts", "nbytes"):
        if name in frame.columns:
            made[name] = frame[name].iloc[place].array
    if "shard" in frame.columns:
        made.insert(0, "shard", frame["shard"].iloc[place].array)
    return made


def _is_plain_set(frame: pd.DataFrame) -> Any:
    """Where a row is a SET that surely has no options; there may be others."""
    if "argc" not in frame.columns:
        return np.zeros(len(frame), bool)
    return ((frame["cmd"] == "SET") & (frame["argc"] <= 3)).to_numpy(bool, na_value=False)


def _like(frame: pd.DataFrame) -> Callable[[bytes], Any]:
    """Makes a key what the keys of the frame are: text or bytes."""
    if pd.api.types.is_string_dtype(frame["key"].dtype) and not str(frame["key"].dtype).startswith("binary"):
        options = frame.attrs.get("aof", {}).get("options", {})
        encoding = options.get("encoding") or "utf-8"
        return lambda key: key.decode(encoding, options.get("encoding_errors", "backslashreplace"))
    return lambda key: key


def templates(frame: pd.DataFrame) -> pd.DataFrame:
    """Commands, bytes and keys per kind of key, most bytes first."""
    needs(frame, "key", "nbytes", "cmd")
    known = frame[frame["key"].notna()]
    key_codes, keys = pd.factorize(known["key"])
    kind_of_key, kinds = kinds_of(keys)
    codes = kind_of_key[key_codes]
    cmd_codes, cmds = pd.factorize(known["cmd"], use_na_sentinel=False)
    by_cmd = np.bincount(codes * len(cmds) + cmd_codes, minlength=len(kinds) * len(cmds)).reshape(len(kinds), len(cmds))
    answer = pd.DataFrame(
        {
            "commands": np.bincount(codes, minlength=len(kinds)),
            "bytes": np.bincount(codes, known["nbytes"], len(kinds)).astype(np.int64),
            "keys": np.bincount(kind_of_key, minlength=len(kinds)),
            "top_cmd": np.asarray(cmds, object)[by_cmd.argmax(axis=1)] if len(kinds) else [],
        },
        index=pd.Index(kinds, name="template", dtype="str"),
    )
    answer["share"] = answer["bytes"] / max(int(frame["nbytes"].sum()), 1)
    return answer.sort_values(["bytes", "commands"], ascending=False)


def kinds_of(keys: Any) -> tuple[np.ndarray, list[str]]:
    """The number of the kind of each key, -1 where there is none, and the kinds by number; `keys` is an array of text
    or bytes.
    """
    kinds = Kinds()
    array = pa.array(keys, from_pandas=True)
    pieces = [array.slice(begin, _PIECE_ROWS) for begin in range(0, len(array), _PIECE_ROWS)]
    codes = [
        kinds.codes(text_of(piece.combine_chunks() if isinstance(piece, pa.ChunkedArray) else piece))
        for piece in pieces
    ]
    return np.concatenate(codes) if codes else np.zeros(0, np.int32), kinds.words


def hot_keys(frame: pd.DataFrame, n: int, by: Literal["bytes", "commands"]) -> pd.DataFrame:
    """The keys that most commands, or most bytes, were about."""
    if by not in ("bytes", "commands"):
        raise ValueError(f"by= is 'bytes' or 'commands', not {by!r}")
    needs(frame, "key", "nbytes", "db")
    grouped = frame[frame["key"].notna()].groupby([*_shard(frame), "db", "key"], observed=True)["nbytes"]
    answer: pd.DataFrame = grouped.agg(["size", "sum"])
    answer.columns = pd.Index(["commands", "bytes"])
    return answer.sort_values(by, ascending=False, kind="stable").head(n).reset_index()


def _shard(frame: pd.DataFrame) -> list[str]:
    """The column that tells several logs apart: keys, transactions and rows of different ones are never the same."""
    return ["shard"] if "shard" in frame.columns else []


def big_values(frame: pd.DataFrame, n: int) -> pd.DataFrame:
    """The largest commands."""
    needs(frame, "nbytes")
    shown = [name for name in ("nbytes", "cmd", "db", "key", "ts", "part", "offset") if name in frame.columns]
    return frame[shown].nlargest(n, "nbytes")


def rate(frame: pd.DataFrame, freq: str, by: str | None) -> pd.DataFrame:
    """Commands and bytes per stretch of time; with `by`, commands per value of that column."""
    column = next((name for name in ("time", "ts") if name in frame.columns and frame[name].notna().any()), None)
    if column is None and not frame.empty:
        raise ValueError(
            "no row has a time: the log was written without aof-timestamp-enabled; read it with the column `time`, "
            "which is estimated"
        )
    needs(frame, "nbytes", *([] if by is None else [by]))
    if frame.empty:
        return pd.DataFrame(
            {} if by is not None else {"commands": [], "bytes": []},
            index=pd.DatetimeIndex([], tz="UTC", name="time"),
            dtype="int64",
        )
    timed = frame[frame[column].notna()]
    moments = timed[column].dt.floor(freq)
    if by is not None:
        counts = pd.crosstab(moments, timed[by].astype(str))
        return counts.reindex(_every(moments, freq), fill_value=0).rename_axis("time")
    answer: pd.DataFrame = timed.groupby(moments)["nbytes"].agg(["size", "sum"])
    answer.columns = pd.Index(["commands", "bytes"])
    return answer.reindex(_every(moments, freq), fill_value=0).rename_axis("time")


def _every(moments: pd.Series, freq: str) -> pd.DatetimeIndex:
    return pd.date_range(moments.min(), moments.max(), freq=freq)


def deadline_of(argv: Argv) -> int | None:
    """When the key of a command will expire by it, in ms since the epoch; None if it sets no deadline.

    >>> deadline_of([b"SET", b"k", b"v", b"PXAT", b"1795183716824"])
    1795183716824
    """
    name = argv[0].upper() if argv else b""
    if name in _AT_PLACE:
        place, unit = _AT_PLACE[name]
        return _integer(argv[place], unit) if len(argv) > place else None
    if name == b"RESTORE" and any(word.upper() == b"ABSTTL" for word in argv[4:]):
        deadline = _integer(argv[2], 1)
        return deadline or None
    if name in (b"SET", b"GETEX"):
        # What stands before is the key, and the value of SET, which may be any word.
        for word, value in pairwise(argv[3 if name == b"SET" else 2 :]):
            if unit := _ABSOLUTE.get(word.upper(), 0):
                return _integer(value, unit)
    return None


def _integer(text: bytes, unit: int) -> int | None:
    try:
        return int(text) * unit
    except ValueError:
        return None


def ttl(frame: pd.DataFrame, argvs: Argvs) -> pd.DataFrame:
    """Every deadline that was set: `deadline`, and `ttl` where the row has a time."""
    needs(frame, "cmd", "key", "db")
    sets = frame["cmd"].isin(["PEXPIREAT", "EXPIREAT", "SET", "GETEX", "RESTORE"]).to_numpy() & ~_is_plain_set(frame)
    deadlines = [deadline_of(argv) for argv in argvs(sets)]
    # Times that no calendar has are no deadlines that anybody meant.
    valid = np.array([d is not None and 0 < d < 253_402_300_800_000 for d in deadlines], bool)
    rows = frame[sets][valid]
    moments = np.array([d for d, ok in zip(deadlines, valid, strict=True) if ok], "datetime64[ms]")
    made = pd.DataFrame(
        {
            "db": rows["db"],
            "key": rows["key"],
            "cmd": rows["cmd"],
            "deadline": pd.Series(pd.DatetimeIndex(moments).tz_localize("UTC"), index=rows.index),
        }
    )
    codes, kinds = kinds_of(rows["key"])
    made["template"] = pd.Categorical.from_codes(codes, pd.Index(kinds, dtype="str")).astype("str")
    column = next((name for name in ("time", "ts") if name in frame.columns), None)
    if column is not None:
        made["ttl"] = made["deadline"] - rows[column]
    return made


def transactions(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per transaction: where it is, how large, what it touched, and whether its EXEC is there."""
    needs(frame, "txn", "nbytes", "cmd", "key", "db")
    inside = frame[frame["txn"].notna()]
    inside = inside.assign(seq=inside.index, txn=inside["txn"].astype("int64"))
    framing = inside["cmd"].isin(["MULTI", "EXEC", "SELECT"])
    by: Any = [*_shard(frame), "txn"] if _shard(frame) else "txn"
    grouped = inside.groupby(by, observed=True)
    answer = grouped.agg(first=("seq", "min"), last=("seq", "max"), bytes=("nbytes", "sum"))
    written = inside[~framing].groupby(by, observed=True)
    answer["commands"] = written.size().reindex(answer.index, fill_value=0)
    answer["keys"] = written["key"].nunique().reindex(answer.index, fill_value=0)
    answer["dbs"] = grouped["db"].nunique()
    answer["complete"] = inside.assign(ends=inside["cmd"] == "EXEC").groupby(by, observed=True)["ends"].any()
    if "ts" in frame.columns:
        answer["ts"] = grouped["ts"].first()
    return answer
