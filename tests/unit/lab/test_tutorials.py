"""The judge of the tutorials: right answers, the ones that the notebooks begin with, and near misses."""

from __future__ import annotations

import importlib.util
import re
import shutil

import pytest
from support.require import need

import aofnb
from aofnb.lab import check, tutorials


def payment(store, pieces):
    with_brackets = ["MULTI", ("DECRBY", "shelf", pieces), ("INCRBY", "cart", pieces), "EXEC"]
    for command in with_brackets:
        store.execute(*([command] if isinstance(command, str) else command))


def two_steps(store, pieces):
    store.execute("DECRBY", "shelf", pieces)
    store.execute("INCRBY", "cart", pieces)


def record(*words: str) -> bytes:
    encoded = [word.encode() for word in words]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded)


TWO_KEYS = record("RPUSH", "teas", "assam", "ceylon") + record("SET", "motto", "très chaud")


def sell_and_wait(store, order, confirm):
    store.execute("RPUSH", "orders", order)
    store.execute("WAITAOF", 1, 0, 0)
    confirm(order)


def sell_under_always(store, order, confirm):
    store.config_set("appendfsync", "always")
    store.execute("RPUSH", "orders", order)
    confirm(order)
    store.config_set("appendfsync", "everysec")


def sell_and_stay(store, order, confirm):
    store.config_set("appendfsync", "always")
    store.execute("RPUSH", "orders", order)
    confirm(order)


def sell_and_stay_once(store, order, confirm):
    sell_and_wait(store, order, confirm)
    if order == "order-4":
        store.config_set("appendfsync", "always")


def sell_at_once(store, order, confirm):
    store.execute("RPUSH", "orders", order)
    confirm(order)


def confirm_before(store, order, confirm):
    confirm(order)
    sell_and_wait(store, order, lambda order: None)


def one_push(store, orders):
    store.execute("RPUSH", "orders", *orders)


def one_batch(store, orders):
    with store.batch():
        for order in orders:
            store.execute("RPUSH", "orders", order)


def one_by_one(store, orders):
    for order in orders:
        store.execute("RPUSH", "orders", order)


def other_policy(store, orders):
    store.config_set("appendfsync", "no")
    one_by_one(store, orders)


def count_field(store, page):
    store.execute("HINCRBY", "visits", page, 1)


def count_all(store, page):
    flat = store.execute("HGETALL", "visits")
    numbers = dict(zip(flat[::2], flat[1::2], strict=True))
    numbers[page.encode()] = int(numbers.get(page.encode(), 0)) + 1
    store.execute("HSET", "visits", *[word for pair in numbers.items() for word in pair])


def find_by_halves(folder):
    log = aofnb.scan(folder)
    low, high = 0, len(log)
    while low < high:
        middle = (low + high) // 2
        if int(log.at(middle + 1).execute("GET", "stock") or 0) < 0:
            high = middle
        else:
            low = middle + 1
    return log.position(low)


def rescue_without_the_last(folder, target):
    log = aofnb.scan(folder)
    df = aofnb.read_aof(folder)
    log.recover(drop=int(df.index[df["cmd"] == "FLUSHALL"][-1])).write(target, verify=False)


def rescue_without_any(folder, target):
    aofnb.scan(folder).recover(drop="FLUSHALL").write(target, verify=False)


def rescue_by_graft(folder, target):
    df = aofnb.read_aof(folder)
    aofnb.scan(folder).undo(int(df.index[df["cmd"] == "FLUSHALL"][-1])).write(target, verify=False)


def rescue_by_rewind(folder, target):
    df = aofnb.read_aof(folder)
    aofnb.scan(folder).recover(stop=int(df.index[df["cmd"] == "FLUSHALL"][-1])).write(target, verify=False)


def rescue_in_place(folder, target):
    with aofnb.open(folder) as store:
        store.execute("SET", "cart:1", 1)


def copy_only(folder, target):
    shutil.copytree(folder, target)


def lengths_anew(log):
    return re.sub(rb"\$\d+\r\n([^\r]*)\r\n", lambda found: b"$%d\r\n%s\r\n" % (len(found[1]), found[1]), log)


def lengths_by_lines(log):
    lines = log.split(b"\r\n")
    for number, line in enumerate(lines):
        if line.startswith(b"$"):
            lines[number] = b"$%d" % len(lines[number + 1])
    return b"\r\n".join(lines)


MANIFEST = "file appendonly.aof.7.base.rdb seq 7 type b\nfile appendonly.aof.9.incr.aof seq 9 type i\n"


def by_word(folder):
    df = aofnb.read_aof(folder)
    df = df[df["key"].notna() & (df["key"] != "")]
    return df.groupby(df["key"].str.split(":").str[0])["nbytes"].sum().to_dict()


def safe_worker(r, do):
    job = r.lmove("jobs", "working", "LEFT", "RIGHT")
    do(job)
    r.lrem("working", 1, job)


def careless_worker(r, do):
    do(r.lpop("jobs"))


def forgetful_worker(r, do):
    do(r.lmove("jobs", "working", "LEFT", "RIGHT"))


REWRITES = {"auto_aof_rewrite_min_size": "32kb", "auto_aof_rewrite_percentage": 100}


@pytest.mark.parametrize(
    ("lesson", "answer"),
    [
        (1, payment),
        (2, TWO_KEYS),
        (3, sell_and_wait),
        (3, sell_under_always),
        (4, one_push),
        (4, one_batch),
        (5, REWRITES),
        (6, count_field),
        (7, rescue_without_the_last),
        (8, find_by_halves),
        (9, lengths_anew),
        (10, MANIFEST),
        (11, by_word),
    ],
)
def test_right_answers(lesson, answer) -> None:
    verdict = check(lesson, answer)
    assert verdict, verdict.text
    assert repr(verdict).startswith("Right! ")


@pytest.mark.parametrize(
    ("lesson", "answer", "reason"),
    [
        (1, two_steps, "after a crash at byte 139, 7 are on the shelf and 0 in the cart"),
        (1, lambda store, pieces: None, "even without a crash"),
        (1, lambda store: None, "TypeError"),
        (2, "text", "bytes"),
        (2, b"", "list teas"),
        (2, TWO_KEYS.replace(b"$11", b"$10"), "the store says"),
        (2, TWO_KEYS[:-1], "too large"),
        (2, TWO_KEYS + record("SET", "motto", "tiède"), "motto is"),
        (3, sell_at_once, "just when order-0 was confirmed"),
        (3, confirm_before, "just when order-0 was confirmed"),
        (3, sell_and_stay, "fsyncs, most of them for page views"),
        (3, sell_and_stay_once, "appendfsync is always at the end"),
        (3, lambda store, order, confirm: None, "0 of 5 orders were confirmed"),
        (3, lambda store, order, confirm: confirm(order), "the list orders holds []"),
        (4, one_by_one, "1000 ms"),
        (4, other_policy, "appendfsync is no"),
        (4, lambda store, orders: one_push(store, orders[:-1]), "99 orders"),
        (5, {}, "0 rewrites"),
        (5, {"auto_aof_rewrite_min_size": "1kb"}, "8 are allowed"),
        (5, {"appendonly": "no"}, "not appendonly"),
        (5, [], "dict"),
        (6, count_all, "bytes of log"),
        (6, lambda store, page: store.execute("HSET", "visits", page, 1), "wrong number"),
        (7, rescue_without_any, "test:0 is there"),
        (7, rescue_by_graft, "all of it counts"),
        (7, rescue_by_rewind, "cart:late is missing"),
        (7, rescue_in_place, "files of the source have changed"),
        (7, copy_only, "keys are still missing"),
        (7, lambda folder, target: None, "no store in the target folder"),
        (8, lambda folder: "here", "you say here"),
        (9, lambda log: log, "the length of 'SET', at byte 4, was wrong"),
        (9, lambda log: b"", "price:0 is None"),
        (9, lambda log: None, "NoneType"),
        (9, lengths_by_lines, "a word and not a length"),
        (10, MANIFEST.splitlines()[0] + "\n", "barbara"),
        (10, MANIFEST.splitlines()[1] + "\n", "ada"),
        (10, "nonsense\n", "the store says"),
        (10, b"", "text"),
        (11, lambda folder: {}, "the words are"),
        (11, lambda folder: {"cart:7": 1, "cart": 2}, "['cart:7'] for one"),
        (11, lambda folder: dict.fromkeys(["cart", "user", "page", "session"], 1), "and you say 1"),
        (11, lambda folder: 1, "not a dict"),
    ],
)
def test_wrong_answers_get_a_reason(lesson, answer, reason) -> None:
    verdict = check(lesson, answer)
    assert not verdict
    assert reason in verdict.text
    assert repr(verdict) == f"Not yet: {verdict.text}"


def test_a_worker_that_keeps_the_job_until_it_is_done() -> None:
    need("redis-py", importlib.util.find_spec("redis"))
    assert check(12, safe_worker)
    assert "in no list" in check(12, careless_worker).text
    assert "afterwards" in check(12, forgetful_worker).text


def test_every_tutorial_has_an_exercise() -> None:
    assert sorted(tutorials._JUDGES) == list(range(1, 13))


def test_one_name_judges_exercises_and_functions_of_your_own() -> None:
    assert tutorials.check is check
    assert check(lambda store: store.execute("SET", "k", 1), lambda store: True)
    with pytest.raises(TypeError, match="seed"):
        check(2, b"", seed=1)  # type: ignore[call-overload]


def test_a_tutorial_without_an_exercise_is_an_error() -> None:
    with pytest.raises(ValueError, match="tutorial 99 has no exercise"):
        check(99, None)
