"""The exercises at the ends of the tutorials: `check` says whether an answer is right, and if not, what is wrong.

An answer is judged by what it does, on a store of its own, never by how it is written; a wrong one gets a reason,
never a traceback. The log is cut at every byte where a tutorial speaks of crashes.
"""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, overload

from aofnb.clock import FakeClock
from aofnb.engine import Store, open_store
from aofnb.errors import AofError, AofnbError
from aofnb.lab import exercises
from aofnb.lab.disk import DiskImage, SimFs
from aofnb.lab.exercises import Verdict
from aofnb.lab.loss import Policy, quiet

__all__ = ["Verdict", "check"]

_INCR = "appendonly.aof.1.incr.aof"


class _WrongError(Exception):
    """The answer is wrong; the message says why."""


@overload
def check(exercise: int, answer: Any) -> Verdict: ...


@overload
def check(
    exercise: Callable[[Store], object],
    answer: Callable[[Store], object],
    *,
    prepare: Sequence[Sequence[object]] = (),
    done: Callable[[Store], object] | None = None,
    policy: Policy = "always",
    seed: int = 1,
) -> Verdict: ...


def check(exercise: Any, answer: Any, **how: Any) -> Verdict:
    """Judge the answer to the exercise of a tutorial, or a function of yours by what crashes make of it.

    ``check(3, sell)`` judges `sell` by tutorial 3. ``check(function, holds, ...)`` runs `function` on a store, crashes
    it in every way, and asks `holds` after each crash: see `aofnb.lab.exercises.check`.

    Parameters
    ----------
    exercise
        The number that the notebook's name begins with, or a function.
    answer
        What the exercise asks for: a function, text, bytes or settings. For a function, what must hold.
    **how
        ``prepare``, ``done``, ``policy`` and ``seed``, for functions alone.

    Examples
    --------
    >>> check(2, b"")
    Not yet: the list teas holds [], not assam and ceylon, in this order.

    Raises
    ------
    ValueError
        That tutorial has no exercise.
    """
    if callable(exercise):
        return exercises.check(exercise, answer, **how)
    if exercise not in _JUDGES:
        known = ", ".join(map(str, sorted(_JUDGES)))
        raise ValueError(f"tutorial {exercise} has no exercise; those that have: {known}")
    if how:
        raise TypeError(f"the exercise of a tutorial has no options (given: {', '.join(how)})")
    with quiet():
        try:
            return Verdict(True, _JUDGES[exercise](answer))
        except _WrongError as wrong:
            return Verdict(False, str(wrong))
        except AofnbError as problem:
            return Verdict(False, f"the store says: {_said(problem)}")
        except Exception as problem:  # the learner's own code may raise anything
            return Verdict(False, f"{type(problem).__name__}: {problem}")


# --- 1: two changes, or none -----------------------------------------------------------------------------------


def _first_durable_key(move: Callable[[Store, int], object]) -> str:
    """`move(store, pieces)` takes pieces from the shelf into the cart; no cut of the log may lose or double one."""
    with _folder() as folder:
        log = folder / "appendonlydir" / _INCR
        with open_store(folder, appendfsync="no") as store:
            store.execute("MSET", "shelf", 10, "cart", 0)
            begin = log.stat().st_size
            move(store, 3)
            shelf, cart = map(int, store.session().execute("MGET", "shelf", "cart"))
        _need(
            (shelf, cart) == (7, 3),
            f"even without a crash, {shelf} are on the shelf and {cart} in the cart, not 7 and 3.",
        )
        crashes = 0
        for cut, store in _every_cut(folder, log, begin):
            crashes += 1
            shelf, cart = map(int, store.execute("MGET", "shelf", "cart"))
            _need(shelf + cart == 10, f"after a crash at byte {cut}, {shelf} are on the shelf and {cart} in the cart.")
    return f"{crashes} crashes, and after each of them there are ten pieces."


# --- 2: what is in the file ------------------------------------------------------------------------------------


def _what_is_in_the_file(log: bytes) -> str:
    """`log`, bytes written by hand, must leave a list and a string with a letter of two bytes."""
    _need(isinstance(log, bytes), f"the answer is bytes, b'...', and this is {type(log).__name__}.")
    with _folder() as folder:
        _write_files(folder, f"file {_INCR} seq 1 type i\n", {_INCR: log})
        with open_store(folder, readonly=True, progress=False) as store:
            assert store.load_report is not None
            cut = store.load_report.files.truncated
            _need(cut is None, "the file ends in the middle of a command: one of the numbers is too large.")
            teas, motto = store.execute("LRANGE", "teas", 0, -1), store.execute("GET", "motto")
    _need(teas == [b"assam", b"ceylon"], f"the list teas holds {teas}, not assam and ceylon, in this order.")
    _need(motto == "très chaud".encode(), f"motto is {motto!r}, not 'très chaud' in UTF-8.")
    return f"a server that loads these {len(log)} bytes has both keys."


# --- 3: pull the plug ------------------------------------------------------------------------------------------


def _pull_the_plug(sell: Callable[[Store, str, Callable[[str], object]], object]) -> str:
    """`sell(store, order, confirm)` puts an order into a list and confirms it; no power cut may take it then.

    Between the orders come page views, which are to be as cheap as `everysec` makes them.
    """
    orders = [f"order-{number}" for number in range(5)]
    clock, disk = FakeClock(), SimFs()
    confirmed: list[str] = []
    missing: list[str] = []

    def confirm(order: str) -> None:
        confirmed.append(order)
        with open_store("shop", fs=_synced(disk).mount(), clock=clock, background=False, readonly=True) as found:
            if order.encode() not in found.execute("LRANGE", "orders", 0, -1):
                missing.append(order)

    with open_store("shop", fs=disk, clock=clock, background=False, appendfsync="everysec") as store:
        for order in orders:
            for _ in range(200):
                store.execute("INCR", "views")
                clock.advance(0.005)
                store.tick()
            sell(store, order, confirm)
        found = [order.decode() for order in store.execute("LRANGE", "orders", 0, -1)]
        fsyncs, policy = store.stats().fsyncs, store.config_get("appendfsync")
    _need(confirmed == orders, f"{len(confirmed)} of {len(orders)} orders were confirmed: call confirm(order) once.")
    _need(found == orders, f"the list orders holds {found}, not the five orders in their order.")
    _need(
        not missing,
        f"the power went just when {(missing or orders)[0]} was confirmed, and after the start it was not there. The "
        "reply to RPUSH comes when the operating system has the bytes; what says that the disk has them?",
    )
    # One for each order, one for each second, and a few to spare.
    _need(
        fsyncs <= 30,
        f"no order is lost, but the disk did {fsyncs} fsyncs, most of them for page views; 30 are allowed.",
    )
    _need(policy == "everysec", f"appendfsync is {policy} at the end: from now on page views pay for orders.")
    return f"five orders, each on the disk before it was confirmed, and {fsyncs} fsyncs for 1,005 commands."


def _synced(disk: SimFs) -> DiskImage:
    """The least that a power cut leaves: what was synced, and not a byte more."""
    files = disk.image().files
    return DiskImage(tuple((path, None if data is None else data[: disk.synced_size(path)]) for path, data in files))


# --- 4: fsync on a slow disk -----------------------------------------------------------------------------------


def _slow_disk(save: Callable[[Store, list[str]], object]) -> str:
    """`save(store, orders)` appends a hundred orders to a list within 50 ms, where an fsync takes 10, all durable."""
    orders = [f"order-{number}" for number in range(100)]
    clock, disk = FakeClock(), SimFs()
    store = open_store("shop", fs=disk, clock=clock, background=False, appendfsync="always", progress=False)
    try:
        disk.observer = lambda operation, path: clock.advance(0.010) if operation == "fdatasync" else None
        start = clock.monotonic()
        save(store, orders)
        took_ms = round((clock.monotonic() - start) * 1000)
        disk.observer = None
        found = [order.decode() for order in store.session().execute("LRANGE", "orders", 0, -1)]
        _need(found == orders, f"the list orders holds {len(found)} orders, and not the 100 in their order.")
        policy = store.config_get("appendfsync")
        _need(policy == "always", f"appendfsync is {policy} now: that is fast, and a power cut takes orders.")
        at_risk = store.stats().unsynced_commands
        _need(at_risk == 0, f"when save returned, {at_risk} commands were not on the disk: a power cut takes them.")
        _need(took_ms <= 50, f"it took {took_ms} ms, an fsync for nearly every order; 50 ms are allowed.")
    finally:
        disk.observer = None
        store.close()
    return f"100 orders in {took_ms} ms, and not one of them at risk."


# --- 5: rewrite live -------------------------------------------------------------------------------------------


def _rewrite_live(settings: dict[str, object]) -> str:
    """`settings` must keep the log of forty counters below 64 KiB with at most eight rewrites."""
    _need(isinstance(settings, dict), "the answer is a dict: {'auto_aof_rewrite_percentage': ..., ...}.")
    allowed = {"auto_aof_rewrite_percentage", "auto_aof_rewrite_min_size"}
    others = {str(name).replace("-", "_") for name in settings} - allowed
    _need(not others, f"only the two auto_aof_rewrite settings may be given, not {', '.join(sorted(others))}.")
    given: dict[str, Any] = {str(name).replace("-", "_"): value for name, value in settings.items()}
    clock = FakeClock()
    with open_store("counters", fs=SimFs(), clock=clock, background=False, progress=False, **given) as store:
        largest = 0
        for number in range(5000):
            store.execute("INCR", f"counter:{number % 40}")
            if number % 20 == 0:
                clock.advance(0.1)
                store.tick()
            largest = max(largest, store.stats().current_size)
        rewrites = store.stats().rewrites
    kib = largest / 1024
    _need(largest <= 64 * 1024, f"the log grew to {kib:.0f} KiB ({rewrites} rewrites); 64 KiB are allowed.")
    _need(rewrites <= 8, f"the log stayed below {kib:.0f} KiB, but it took {rewrites} rewrites; 8 are allowed.")
    return f"never more than {kib:.0f} KiB, with {rewrites} rewrites."


# --- 6: why did my log explode ---------------------------------------------------------------------------------


def _exploded_log(count_visit: Callable[[Store, str], object]) -> str:
    """`count_visit(store, page)` counts in the hash `visits`, with at most 60 bytes of log for a visit."""
    rng = random.Random(6)
    visits = [f"page-{rng.randrange(100)}" for _ in range(500)]
    with open_store("visits", fs=SimFs(), background=False, progress=False) as store:
        before = store.stats().current_size
        for page in visits:
            count_visit(store, page)
        bytes_each = (store.stats().current_size - before) / len(visits)
        flat = store.session().execute("HGETALL", "visits")
        found = dict(zip(flat[::2], flat[1::2], strict=True))
    expected = {page.encode(): str(visits.count(page)).encode() for page in set(visits)}
    wrong = sum(found.get(page) != number for page, number in expected.items()) + len(found.keys() - expected.keys())
    _need(not wrong, f"{wrong} of the {len(expected)} pages in the hash visits have a wrong number.")
    _need(bytes_each <= 60, f"the numbers are right, but a visit costs {bytes_each:.0f} bytes of log; 60 are allowed.")
    return f"{bytes_each:.0f} bytes of log for a visit."


# --- 7: the FLUSHALL accident ----------------------------------------------------------------------------------


def _flushall(rescue: Callable[[str, str], object]) -> str:
    """`rescue(folder, target)` writes a new store to `target`, without the last FLUSHALL of the log in `folder`."""
    for seed in range(2):
        with _folder() as folder:
            source, target = folder / "source", folder / "target"
            expected = _flushed(source, random.Random(seed))
            before = _content(source)
            rescue(str(source), str(target))
            _need(_content(source) == before, "the files of the source have changed: keep them, write a new folder.")
            there = (target / "appendonlydir").is_dir()
            _need(there, "there is no store in the target folder: plan.write(target) makes it.")
            with open_store(target, readonly=True, progress=False) as store:
                _judge_rescue(store, expected, f"in log {seed + 1} of 2 ")
    return "two logs, and everything is there that should be, and nothing that should not."


def _judge_rescue(store: Store, expected: dict[str, int], where: str) -> None:
    found = {name.decode() for name in store.execute("KEYS", "*")}
    tests = sorted(name for name in found if name.startswith("test:"))
    _need(
        not tests,
        f"{where}{tests[0] if tests else None} is there, which the first FLUSHALL had deleted with good reason.",
    )
    missing = sorted(expected.keys() - found)
    _need(
        "cart:late" not in missing, f"{where}cart:late is missing, which somebody filled after the accident: keep that."
    )
    _need(not missing, f"{where}{len(missing)} keys are still missing: {', '.join(missing[:3])}, ...")
    for name in expected:
        value = int(store.execute("GET", name))
        hint = "" if name != "revenue" else " It was counted before the accident and after it, and all of it counts."
        _need(value == expected[name], f"{where}{name} is {value}, not {expected[name]}.{hint}")


def _flushed(folder: Path, rng: random.Random) -> dict[str, int]:
    """Write a log with a FLUSHALL that was right and one that was not; the keys that there should be."""
    expected = {"revenue": 0}
    with open_store(folder, appendfsync="no", progress=False) as store:
        for number in range(rng.randrange(3, 9)):
            store.execute("SET", f"test:{number}", "x")
        store.execute("FLUSHALL")
        for number in range(rng.randrange(20, 40)):
            price = rng.randrange(100, 999)
            expected[f"cart:{number}"] = price
            store.execute("SET", f"cart:{number}", price)
            store.execute("INCRBY", "revenue", price)
            expected["revenue"] += price
        store.execute("FLUSHALL")
        expected["cart:late"] = 77
        store.execute("SET", "cart:late", 77)
        store.execute("INCRBY", "revenue", 77)
        expected["revenue"] += 77
    return expected


def _content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("appendonly*") if path.is_file()}


# --- 8: the time machine ---------------------------------------------------------------------------------------


def _time_machine(find: Callable[[str], object]) -> str:
    """`find(folder)` names the command that makes the string `stock` negative, as file:offset, in two logs."""
    for seed in range(2):
        rng = random.Random(seed)
        with _folder() as folder:
            where = _sell_too_much(folder, rng)
            found = str(find(str(folder)))
            _need(found == where, f"in log {seed + 1} of 2 you say {found}, and that is not the one.")
    return "two logs, and each time the very command."


def _sell_too_much(folder: Path, rng: random.Random) -> str:
    """Write a log in which `stock` becomes negative once and stays so; where the command is that does it."""
    where = ""
    log = folder / "appendonlydir" / _INCR
    with open_store(folder, appendfsync="no") as store:
        stock, after = 50, 0
        store.execute("SET", "stock", stock)
        while after < 40:
            store.execute("INCR", f"visits:{rng.randrange(5)}")
            pieces = rng.randrange(1, 4)
            if not where and stock < 10 and rng.random() < 0.5:
                pieces = -rng.randrange(5, 20)
            begin = log.stat().st_size
            stock -= pieces
            store.execute("DECRBY", "stock", pieces)
            if stock < 0 and not where:
                where = f"{_INCR}:{begin}"
            after += bool(where)
    return where


# --- 9: broken bytes -------------------------------------------------------------------------------------------


def _broken_bytes(mend: Callable[[bytes], bytes]) -> str:
    """`mend(log)` brings back every command of a log in which the length of one word is wrong."""
    rng = random.Random(9)
    commands = [["SET", f"price:{number}", rng.choice(["$9", "$12", "12", "gratis"])] for number in range(40)]
    words = [word for argv in commands for word in argv]
    for number in (0, 59, 119):
        log, at = _with_wrong_length(commands, number)
        mended = mend(log)
        _need(isinstance(mended, bytes), f"mend gave {type(mended).__name__}, not bytes.")
        with _folder() as folder:
            _write_files(folder, f"file {_INCR} seq 1 type i\n", {_INCR: mended})
            try:
                with open_store(folder, readonly=True, progress=False) as store:
                    found = [store.execute("GET", key) for _set, key, _value in commands]
            except AofnbError as problem:
                raise _WrongError(
                    f"the store still refuses the log in which the length of {words[number]!r}, at byte {at}, was "
                    f"wrong: {_said(problem)}{_TRAP if mended != log else ''}"
                ) from None
        for (_set, key, value), there in zip(commands, found, strict=True):
            _need(
                there == value.encode(),
                f"{key} is {there!r}, not {value.encode()!r}: every command can be had.{_TRAP}",
            )
    return "three broken logs, and not one command is lost."


_TRAP = " (A price such as $9 is a word and not a length, although it looks like one.)"


def _with_wrong_length(commands: Sequence[Sequence[str]], broken: int) -> tuple[bytes, int]:
    """The log of `commands`, with another length before word number `broken` of all; and where that is."""
    log, at, number = bytearray(), 0, 0
    for argv in commands:
        log += b"*%d\r\n" % len(argv)
        for word in argv:
            length = len(word)
            if number == broken:
                at, length = len(log), length + 4
            log += b"$%d\r\n%s\r\n" % (length, word.encode())
            number += 1
    return bytes(log), at


# --- 10: it is really Redis ------------------------------------------------------------------------------------


def _really_redis(manifest: str) -> str:
    """`manifest`, written by hand, must make a store of two files that were saved from a dead machine."""
    _need(isinstance(manifest, str), f"the answer is text, and this is {type(manifest).__name__}.")
    base, incr = "appendonly.aof.7.base.rdb", "appendonly.aof.9.incr.aof"
    with _folder() as folder:
        with open_store(folder / "before", appendfsync="no") as store:
            store.execute("MSET", "ada", 1815, "grace", 1906)
            store.bgrewriteaof()
            while store.stats().rewrites == 0:
                store.tick()
            store.execute("SET", "barbara", 1939)
            names = {kind: name for name, kind, _size in store.stats().files}
        old = folder / "before" / "appendonlydir"
        files = {base: (old / names["base"]).read_bytes(), incr: (old / names["incr"]).read_bytes()}
        _write_files(folder / "after", manifest, files)
        with open_store(folder / "after", readonly=True, progress=False) as store:
            found = store.execute("MGET", "ada", "grace", "barbara")
    _need(found[:2] == [b"1815", b"1906"], "ada and grace, who are in the base file, are not there.")
    _need(found[2] == b"1939", "barbara, who is in the incr file, is not there.")
    return "all three are there, and redis-server would find them as well."


# --- 11: forensics at scale ------------------------------------------------------------------------------------


def _at_scale(measure: Callable[[str], object]) -> str:
    """`measure(folder)` gives, as a dict, how many bytes each first word of the keys (``cart`` of cart:7) has cost."""
    rng = random.Random(11)
    names = ["cart", "user", "page", "session"]
    expected = dict.fromkeys(names, 0)
    with _folder() as folder:
        log = folder / "appendonlydir" / _INCR
        with open_store(folder, appendfsync="no") as store:
            store.execute("SET", "cart:0", "the first record of a file is a SELECT")
            expected["cart"] = log.stat().st_size - len("*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n")
            for _ in range(400):
                name = rng.choice(names)
                before = log.stat().st_size
                store.execute("SET", f"{name}:{rng.randrange(20)}", "x" * rng.randrange(200))
                expected[name] += log.stat().st_size - before
        answer = measure(str(folder))
    _need(isinstance(answer, dict), f"the function gives a {type(answer).__name__}, not a dict.")
    assert isinstance(answer, dict)
    found = {str(name): int(size) for name, size in answer.items()}
    others = sorted(found.keys() - expected.keys())
    _need(not others, f"{len(others)} words are none of the four first words of keys, {others[:1]} for one.")
    _need(len(found) == len(expected), f"the words are {sorted(expected)}, and you have {sorted(found)}.")
    for name, size in expected.items():
        _need(found[name] == size, f"{name} has cost {size} bytes, and you say {found[name]}.")
    return f"{sum(expected.values())} bytes, and every one of them is accounted for."


# --- 12: a queue -----------------------------------------------------------------------------------------------


def _queue(work: Callable[[Any, Callable[[bytes], object]], object]) -> str:
    """`work(r, do)` takes a job off the list `jobs` and does it; no cut of the log before it is done may lose it."""
    with _folder() as folder:
        log = folder / "appendonlydir" / _INCR
        done: list[tuple[bytes, int]] = []
        with open_store(folder, appendfsync="no") as store:
            store.execute("RPUSH", "jobs", "first", "second")
            begin = log.stat().st_size
            work(store.redis(), lambda job: done.append((job, log.stat().st_size)))
            waiting = _jobs_in(store)
        _need(
            [job for job, _when in done] == [b"first"],
            f"do was called with {[job for job, _ in done]}, not [b'first'].",
        )
        _need(waiting == [b"second"], f"afterwards the lists jobs and working hold {waiting}, not just the second job.")
        crashes = 0
        for cut, store in _every_cut(folder, log, begin):
            crashes += 1
            waiting = _jobs_in(store)
            copies = waiting.count(b"first")
            _need(copies < 2, f"after a crash at byte {cut} the job is there twice.")
            # At the byte where `do` was called it may not have come to anything yet.
            _need(
                bool(copies) or cut > done[0][1],
                f"after a crash at byte {cut}, with the job not yet done, it is in no list.",
            )
            _need(waiting.count(b"second") == 1, f"after a crash at byte {cut} the second job is gone.")
    return f"{crashes} crashes, and no job is lost."


def _jobs_in(store: Store) -> list[bytes]:
    session = store.session()
    return [job for name in ("jobs", "working") for job in session.execute("LRANGE", name, 0, -1)]


# --- for all of them -------------------------------------------------------------------------------------------


def _need(holds: bool, otherwise: str) -> None:
    if not holds:
        raise _WrongError(otherwise)


def _said(problem: AofnbError) -> str:
    """What the store says, without the folder, which means nothing to the learner, and without the remedies."""
    if not isinstance(problem, AofError) or problem.offset is None:
        return str(problem)
    return f"at byte {problem.offset}: {str(problem).partition(': ')[2].partition(';')[0]}."


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="aofnb-") as place:
        yield Path(place)


def _every_cut(folder: Path, log: Path, begin: int) -> Iterator[tuple[int, Store]]:
    """The store in `folder` as each cut of `log` leaves it, from its end back to byte `begin`."""
    for cut in range(log.stat().st_size, begin - 1, -1):
        os.truncate(log, cut)
        with open_store(folder, readonly=True, progress=False) as store:
            yield cut, store


def _write_files(folder: Path, manifest: str, files: dict[str, bytes]) -> None:
    directory = folder / "appendonlydir"
    directory.mkdir(parents=True)
    (directory / "appendonly.aof.manifest").write_text(manifest, encoding="utf-8", newline="")
    for name, data in files.items():
        (directory / name).write_bytes(data)


_JUDGES: dict[int, Callable[[Any], str]] = {
    1: _first_durable_key,
    2: _what_is_in_the_file,
    3: _pull_the_plug,
    4: _slow_disk,
    5: _rewrite_live,
    6: _exploded_log,
    7: _flushall,
    8: _time_machine,
    9: _broken_bytes,
    10: _really_redis,
    11: _at_scale,
    12: _queue,
}
