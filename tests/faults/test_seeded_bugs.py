"""The crash states see every bug of durability that can be made by leaving out an fsync or by doing things in another
order: each is seeded, and must be caught. What is not caught is listed, with the reason why it is no bug.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from functools import cache
from typing import Literal

import pytest

from aofnb.lab import BuggyFs, DiskImage, Fault, Judge, Trial, ViolationError
from aofnb.lab.crash import DIRECTORY, Content
from aofnb.resp.encode import encode_command

pytestmark = pytest.mark.slow

# Call sites as `aofnb.lab.crash.call_site` spells them: the operation, who wanted it, and their callers.
CAUGHT_IF_SKIPPED = [
    # the live incr
    "fdatasync: fsync_now < _fsync_if_due < flush",
    "fdatasync: _fsync_in_background < _fsync_if_due < flush",
    "fdatasync: fsync_now < close",
    # a start, and a start after a kill
    "fdatasync: write_keyspace < _create < start_writer",
    "fdatasync: write_base < write_keyspace < _create",
    "fdatasync: persist < _publish_incr < start_writer",
    "fdatasync: persist < _upgrade < start_writer",
    "fdatasync: persist < _drop_history < start_writer",
    "fdatasync: start_writer",
    "fsync_dir: _mkdir < _create < start_writer",
    "fsync_dir: _mkdir < _upgrade < start_writer",
    "fsync_dir: _publish_incr < start_writer",
    "fsync_dir: persist < _upgrade < start_writer",
    "fsync_dir: start_writer",
    # a rewrite
    "fdatasync: fsync_now < begin_rewrite",
    "fdatasync: persist < _publish_incr < begin_rewrite",
    "fdatasync: write_keyspace",
    "fdatasync: write_base < write_keyspace",
    "fdatasync: persist < _publish < publish_base",
    "fdatasync: persist < _drop_history < _publish",
    "fsync_dir: _publish_incr < begin_rewrite",
    "fsync_dir: persist < _publish_incr < begin_rewrite",
    "fsync_dir: _publish < publish_base",
    "fsync_dir: persist < _publish < publish_base",
]

REDUNDANT = {
    "fdatasync: _apply < load": (
        "cutting a torn tail off: start_writer syncs the same file before anything is appended, and until then "
        "the next start cuts it again"
    ),
    "fsync_dir: persist < _publish_incr < start_writer": (
        "start_writer syncs the same directory once more before the first command, for what a killed process left"
    ),
    "fsync_dir: _upgrade < start_writer": (
        "the old file keeps its name or has the new one, a start finds it under either; _publish_incr syncs the "
        "directory before the first command"
    ),
    "fsync_dir: persist < _drop_history < _publish": (
        "the old manifest differs in its history only, which is not loaded and may be missing"
    ),
    "fsync_dir: persist < _drop_history < start_writer": "the same",
}

MANIFEST = "rename appendonly.aof.manifest"
# (what comes too late, after what)
CAUGHT_IF_LATE = {
    "the reply before the fsync": ("fdatasync: fsync_now < _fsync_if_due < flush", "write"),
    "the old incr is synced after a manifest says that it is not the last": (
        "fdatasync: fsync_now < begin_rewrite",
        MANIFEST,
    ),
    "the snapshot is synced after the manifest lists it": ("fdatasync: write_keyspace", MANIFEST),
    "the base of commands is synced after the manifest lists it": ("fdatasync: write_base < write_keyspace", MANIFEST),
    "the base's name is synced after the manifest lists it": ("fsync_dir: _publish < publish_base", MANIFEST),
    "the incr's name is synced after the manifest lists it": ("fsync_dir: _publish_incr < begin_rewrite", MANIFEST),
    "the manifest is synced after its rename": ("fdatasync: persist < _publish < publish_base", MANIFEST),
    "a file is deleted before the manifest that replaces it is durable": (
        "fsync_dir: persist < _publish < publish_base",
        "unlink",
    ),
    "a file is deleted before it is replaced": ("rename: persist < _publish < publish_base", "unlink"),
    "the old file moves before a durable manifest lists it": ("fsync_dir: persist < _upgrade < start_writer", "rename"),
    "the old file moves before a manifest lists it": (
        "rename: persist < _upgrade < start_writer",
        "rename appendonly.aof",
    ),
}

OLD: Content = ((0, b"old", None, ((b"SET", b"old", b"1"),)),)
OLD_FILES = (
    (os.path.dirname(DIRECTORY), None),
    (DIRECTORY, None),
    (os.path.join(DIRECTORY, "appendonly.aof"), encode_command([b"SET", b"old", b"1"])),
)


@cache
def judge_of(base_form: str) -> Judge:
    """One for all lives with such stores: what a start finds in an image depends on nothing else."""
    return Judge(
        auto_aof_rewrite_percentage=0,
        databases=2,
        aof_timestamp_enabled=True,
        aof_use_rdb_preamble=base_form == "rdb",
    )


def live(fs: BuggyFs, policy: str, seed: int, *, upgrade: bool, limit: int = 12, recoveries: float = 0.25) -> None:
    """A store from its making, or from the move of an older one's file, over two rewrites to its end.

    Bases have both forms, by turns; which one comes first depends on the seed.
    """
    forms: list[Literal["rdb", "aof"]] = ["rdb", "aof"] if seed % 4 < 2 else ["aof", "rdb"]
    rng = random.Random(seed)
    history: list[Content] = [OLD] if upgrade else [()]
    if upgrade:
        DiskImage(OLD_FILES).mount(fs)
    trial = Trial(
        fs,
        judge_of(forms[0]),
        limit=limit,
        rng=rng,
        recoveries=recoveries,
        history=history,
        appendfsync=policy,  # type: ignore[arg-type]  # one of two, from the table below
    )
    with trial:
        trial.turn([("INCR", "n"), ("RPUSH", "list", "item")])
        trial.wait(1)
        trial.turn([("INCR", "n")])
        trial.rewrite_while(lambda: trial.turn([("INCR", "n")]))
        trial.set_base_form(forms[1])
        trial.rewrite()
        trial.turn([("INCR", "n")])
        trial.turn([("INCR", "n"), ("SET", "k", 1)])


def live_off_and_on(fs: BuggyFs, policy: str, seed: int) -> None:
    """A store whose log is turned off and on again, twice."""
    rng = random.Random(seed)
    with Trial(fs, judge_of("rdb"), limit=8, rng=rng, recoveries=0.1, appendfsync=policy) as trial:  # type: ignore[arg-type]
        trial.turn([("INCR", "n"), ("RPUSH", "list", "item")])
        trial.switch_log(("INCR", "n"), ("RPUSH", "list", "nobody logs this"))
        trial.turn([("INCR", "n")])
        trial.set_base_form("aof")
        trial.switch_log(("INCR", "n"), rewrite=True)
        trial.turn([("INCR", "n")])


# (what is left out or comes too late, after what)
OFF_AND_ON = {
    "turning it off syncs nothing": ("fdatasync: fsync_now < close", None),
    "the snapshot is not synced": ("fdatasync: write_keyspace", None),
    "the base of commands is not synced": ("fdatasync: write_base < write_keyspace", None),
    "the new manifest is not synced": ("fdatasync: persist < _publish < _new_generation", None),
    "the names of base and incr are not synced": ("fsync_dir: _publish < _new_generation < start_anew", None),
    "the manifest's name is not synced": ("fsync_dir: persist < _publish < _new_generation", None),
    "names are synced after the manifest lists them": (
        "fsync_dir: _publish < _new_generation < start_anew",
        "rename appendonly.aof.manifest",
    ),
    "a file is deleted before it is replaced": ("rename: persist < _publish < _new_generation", "unlink"),
    "a base alone: its manifest is not synced": ("fdatasync: persist < _publish < publish_alone", None),
    "a base alone: its name is not synced": ("fsync_dir: _publish < publish_alone", None),
    "a base alone: the manifest's name is not synced": ("fsync_dir: persist < _publish < publish_alone", None),
    "a base alone: a file is deleted before it is replaced": ("rename: persist < _publish < publish_alone", "unlink"),
}


@pytest.mark.parametrize("what", OFF_AND_ON)
def test_a_bug_in_turning_the_log_on_is_caught(what: str) -> None:
    site, until = OFF_AND_ON[what]
    with pytest.raises(ViolationError):
        for policy, seed in LIVES:
            live_off_and_on(BuggyFs(site, until), policy, seed)


def test_turning_the_log_off_and_on_without_a_bug_is_fine() -> None:
    fs = BuggyFs()
    live_off_and_on(fs, "everysec", 2)
    assert {site for site, until in OFF_AND_ON.values()} <= set(fs.sites)


def live_healed(fs: BuggyFs, policy: str, seed: int) -> None:
    """A store of which an fsync failed, and which a rewrite gave new files of what is in memory."""
    rng = random.Random(seed)
    with Trial(fs, judge_of("rdb"), limit=8, rng=rng, recoveries=0.1, appendfsync=policy) as trial:  # type: ignore[arg-type]
        trial.turn([("INCR", "n"), ("RPUSH", "list", "item")])
        # The write, then the fsync.
        fs.faults = {fs.done + 1: Fault()}
        trial.turn([("INCR", "n")])
        trial.wait(1)
        assert trial.store.engine.refusal is not None or policy == "everysec"
        trial.rewrite()
        assert trial.store.engine.refusal is None
        trial.turn([("INCR", "n")])
        trial.wait(1)
        trial.turn([("INCR", "n"), ("SET", "k", 1)])


HEALED = {
    "the snapshot is not synced": ("fdatasync: write_keyspace", None),
    "the new manifest is not synced": ("fdatasync: persist < _publish < _new_generation", None),
    "the names of base and incr are not synced": ("fsync_dir: _publish < _new_generation < replace_all", None),
    "the manifest's name is not synced": ("fsync_dir: persist < _publish < _new_generation", None),
    "names are synced after the manifest lists them": (
        "fsync_dir: _publish < _new_generation < replace_all",
        "rename appendonly.aof.manifest",
    ),
    "a file is deleted before it is replaced": ("rename: persist < _publish < _new_generation", "unlink"),
}


@pytest.mark.parametrize("what", HEALED)
def test_a_bug_in_healing_after_a_failed_fsync_is_caught(what: str) -> None:
    site, until = HEALED[what]
    with pytest.raises(ViolationError):
        for policy, seed in LIVES:
            live_healed(BuggyFs(site, until), policy, seed)


@pytest.mark.parametrize("policy", ["always", "everysec"])
def test_healing_without_a_bug_is_fine(policy: str) -> None:
    fs = BuggyFs()
    live_healed(fs, policy, 2)
    assert {site for site, until in HEALED.values()} <= set(fs.sites)


# Until one of them sees it.
LIVES = [("always", 1), ("everysec", 2), ("always", 3), ("everysec", 4), ("always", 5), ("everysec", 6)]


def live_with(site: str, until: str | None) -> None:
    for policy, seed in LIVES:
        live(BuggyFs(site, until), policy, seed, upgrade="_upgrade" in site)


@pytest.mark.parametrize("site", CAUGHT_IF_SKIPPED)
def test_an_fsync_that_is_left_out_is_caught(site: str) -> None:
    with pytest.raises(ViolationError):
        live_with(site, None)


@pytest.mark.parametrize("what", CAUGHT_IF_LATE)
def test_the_wrong_order_is_caught(what: str) -> None:
    with pytest.raises(ViolationError):
        live_with(*CAUGHT_IF_LATE[what])


@pytest.mark.parametrize("site", REDUNDANT)
def test_an_fsync_that_is_called_redundant_is(site: str) -> None:
    """Should this fail, the reason given above no longer holds: the fsync is needed, and belongs to the first list."""
    for policy, seed in LIVES[:2]:
        live(BuggyFs(site), policy, seed, upgrade="_upgrade" in site)


@pytest.mark.timeout(300)
def test_every_fsync_there_is_stands_in_one_of_the_lists() -> None:
    met: Counter[str] = Counter()
    for policy, seed in LIVES[:4]:
        for upgrade in (False, True):
            fs = BuggyFs()
            live(fs, policy, seed, upgrade=upgrade, limit=8, recoveries=0.5)
            met += fs.sites
    fsyncs = {site for site in met if not site.startswith("rename")}
    assert fsyncs == {*CAUGHT_IF_SKIPPED, *REDUNDANT}
