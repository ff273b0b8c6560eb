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

from aofnb.forensics.roles import key_roles, sole_role, template

__all__ = [
    "big_values",
    "deadline_of",
    "events",
    "hot_keys",
    "needs",
    "rate",
    "templates",
    "templates_of",
    "transactions",
    "ttl",
]

Argv = Sequence[bytes]
Argvs = Callable[[Any], list[list[bytes]]]
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
    names = frame["cmd"].astype(object).to_numpy()
    nkeys = frame["nkeys"].to_numpy()
    keys = frame["key"].astype(object).to_numpy()
    # The role of a sole key follows from the name, but for SET, whose options count.
    one = {name: sole_role(name) if isinstance(name, str) else None for name in set(names[nkeys == 1])}
    roles = np.array([one.get(name) for name in names], object)
    read = (nkeys > 1) | ((nkeys == 1) & np.array([role is None for role in roles], bool))
    place = np.flatnonzero((nkeys == 1) & ~read)
    pieces = [(place, keys[place], roles[place])]
    rows, found, what = [], [], []
    encode = _like(frame)
    for row, argv in zip(np.flatnonzero(read).tolist(), argvs(read), strict=True):
        for key, role in key_roles(argv):
            rows.append(row)
            found.append(encode(key))
            what.append(role)
    pieces.append((np.array(rows, np.int64), np.array(found, object), np.array(what, object)))
    place = np.concatenate([piece[0] for piece in pieces])
    order = np.argsort(place, kind="stable")
    place = place[order]
    made = pd.DataFrame(
        {
            "seq": frame.index.to_numpy()[place],
            "db": frame["db"].to_numpy()[place],
            "cmd": frame["cmd"].to_numpy()[place] if frame["cmd"].dtype == object else frame["cmd"].iloc[place].array,
            "key": pd.Series(np.concatenate([piece[1] for piece in pieces])[order], dtype=frame["key"].dtype).array,
            "role": pd.Categorical(
                np.concatenate([piece[2] for piece in pieces])[order], categories=["OW", "RW", "RO", "RM"]
            ),
        }
    )
    for name in ("ts", "nbytes"):
        if name in frame.columns:
            made[name] = frame[name].iloc[place].array
    if "shard" in frame.columns:
        made.insert(0, "shard", frame["shard"].iloc[place].array)
    return made


def _like(frame: pd.DataFrame) -> Callable[[bytes], Any]:
    """Makes a key what the keys of the frame are: text or bytes."""
    if pd.api.types.is_string_dtype(frame["key"].dtype) and not str(frame["key"].dtype).startswith("binary"):
        options = frame.attrs.get("aof", {}).get("options", {})
        encoding = options.get("encoding") or "utf-8"
        return lambda key: key.decode(encoding, options.get("encoding_errors", "backslashreplace"))
    return lambda key: key


def templates(frame: pd.DataFrame, normalize: Callable[[str], str] = template) -> pd.DataFrame:
    """Commands, bytes and keys per kind of key, most bytes first."""
    needs(frame, "key", "nbytes", "cmd")
    known = frame[frame["key"].notna()]
    codes, keys = pd.factorize(known["key"])
    kinds = np.array([normalize(key if isinstance(key, str) else _shown(key)) for key in keys], object)
    rows = pd.DataFrame(
        {"template": kinds[codes], "key": codes, "nbytes": known["nbytes"].to_numpy(), "cmd": known["cmd"].to_numpy()}
    )
    grouped = rows.groupby("template", observed=True)
    answer = grouped.agg(commands=("nbytes", "size"), bytes=("nbytes", "sum"), keys=("key", "nunique"))
    answer["top_cmd"] = grouped["cmd"].agg(lambda cmds: cmds.value_counts().index[0])
    answer["share"] = answer["bytes"] / max(int(frame["nbytes"].sum()), 1)
    return answer.sort_values(["bytes", "commands"], ascending=False)


def _shown(key: bytes) -> str:
    return key.decode("utf-8", "backslashreplace")


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
    sets = frame["cmd"].isin(["PEXPIREAT", "EXPIREAT", "SET", "GETEX", "RESTORE"]).to_numpy()
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
    made["template"] = templates_of(rows["key"])
    column = next((name for name in ("time", "ts") if name in frame.columns), None)
    if column is not None:
        made["ttl"] = made["deadline"] - rows[column]
    return made


def templates_of(keys: Iterable[Any]) -> list[str | None]:
    """The template of each key; None where there is none."""
    known: dict[Any, str] = {}
    answer: list[str | None] = []
    for key in keys:
        if key is None or key is pd.NA or key != key:
            answer.append(None)
            continue
        if key not in known:
            known[key] = template(key if isinstance(key, str) else _shown(key))
        answer.append(known[key])
    return answer


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
