"""The trial and the judge: they see what is wrong, and say what they saw."""

from __future__ import annotations

import os
import random

import pytest

from aofnb.lab import BuggyFs, DiskImage, Judge, SimFs, Trial, ViolationError, everyday
from aofnb.lab.crash import DIRECTORY
from aofnb.rdb.crc64 import crc64
from aofnb.resp.encode import encode_command

SETTINGS = {"auto_aof_rewrite_percentage": 0, "databases": 2}
LOG = os.path.join(DIRECTORY, "appendonlydir")
INCR = os.path.join(LOG, "appendonly.aof.1.incr.aof")
MANIFEST = os.path.join(LOG, "appendonly.aof.manifest")
SET_A = encode_command([b"SET", b"a", b"1"])
A = ((0, b"a", None, ((b"SET", b"a", b"1"),)),)


def image(incr: bytes | None, *, zeroed: bool = False) -> DiskImage:
    """A disk with a log of one incr."""
    files: list[tuple[str, bytes | None]] = [(os.path.dirname(DIRECTORY), None), (DIRECTORY, None), (LOG, None)]
    if incr is not None:
        files.append((INCR, incr))
    files.append((MANIFEST, b"file appendonly.aof.1.incr.aof seq 1 type i\n"))
    return DiskImage(tuple(files), zeroed)


def trial(fs: SimFs, seed: int = 0, **options) -> Trial:
    return Trial(fs, Judge(**SETTINGS), rng=random.Random(seed), **options)


def test_a_judge_tells_what_is_in_an_image_and_opens_equal_ones_once():
    judge = Judge(**SETTINGS)
    assert judge.recovered(image(SET_A)) == A
    assert judge.recovered(image(SET_A)) == A
    assert judge.recovered(image(SET_A + SET_A[:5])) == A
    assert judge.images == 2


def test_a_judge_refuses_what_a_store_refuses():
    with pytest.raises(ViolationError, match="not there"):
        Judge(**SETTINGS).recovered(image(None))
    with pytest.raises(ViolationError, match="garbage"):
        Judge(**SETTINGS).recovered(image(SET_A + b"garbage"))


def test_a_judge_sees_commands_that_fail_on_replay():
    with pytest.raises(ViolationError, match="failed on replay"):
        Judge(**SETTINGS).recovered(image(SET_A + encode_command([b"LPUSH", b"a", b"1"])))


def test_zeros_are_cut_off_where_the_store_says_but_only_if_the_disk_lost_them():
    zeros = SET_A + bytes(30)
    assert Judge(**SETTINGS).recovered(image(zeros, zeroed=True)) == A
    with pytest.raises(ViolationError, match="zero bytes"):
        Judge(**SETTINGS).recovered(image(zeros))


def test_a_trial_crashes_every_operation():
    watched = trial(SimFs(), appendfsync="always")
    with watched:
        watched.turn([("SET", "a", 1)])
    assert [step for step, _ in watched.operations[:3]] == ["mkdir", "mkdir", "mkdir"]
    assert ("fdatasync", "appendonly.aof.1.incr.aof") in watched.operations
    assert watched.history == [(), A]
    assert watched.judge.states > len(watched.operations)
    assert set(watched.judge.by_kind) == {"kill", "power, ordered", "power, any"}


def test_a_trial_is_the_same_for_the_same_seed():
    def once():
        watched = trial(SimFs(), 4, recoveries=0.1)
        with watched:
            everyday(watched, random.Random(4), 4)
        return watched.operations, watched.history, watched.judge.by_kind, watched.judge.images

    assert once() == once()


@pytest.mark.parametrize(
    ("policy", "promised"), [("always", (1, 1)), ("everysec", (0, 1)), ("no", (0, 0))], ids=["always", "everysec", "no"]
)
def test_what_is_promised_against_a_power_cut_depends_on_the_policy_and_the_time(policy, promised):
    watched = trial(SimFs(), appendfsync=policy)
    with watched:
        watched.turn([("SET", "a", 1)])
        at_once = watched.promised("power")
        assert watched.promised("kill") == 1
        watched.wait(2)
        assert (at_once, watched.promised("power")) == promised


def test_a_violation_says_when_and_holds_the_disk():
    with (
        pytest.raises(ViolationError, match="1 of 1 units were promised, 0 are there") as caught,
        trial(BuggyFs("fdatasync: fsync_now < _fsync_if_due < flush"), appendfsync="always") as watched,
    ):
        watched.turn([("SET", "a", 1)])
    assert "appendfsync=always, after operation" in str(caught.value)
    assert any(path == INCR for path, _ in caught.value.image.files)


def test_a_disk_without_bugs_counts_call_sites():
    fs = BuggyFs()
    watched = trial(fs)
    with watched:
        watched.turn([("SET", "a", 1)])
    assert fs.sites["fdatasync: start_writer"] == 1
    assert fs.sites["rename: persist < _publish_incr < start_writer"] == 1


def test_a_judge_sees_a_snapshot_that_is_damaged():
    base = os.path.join(LOG, "appendonly.aof.1.base.rdb")
    files = dict(image(SET_A).files)
    files[MANIFEST] = b"file appendonly.aof.1.base.rdb seq 1 type b\n" + (files[MANIFEST] or b"")
    whole = b"REDIS0010\xff" + crc64(b"REDIS0010\xff").to_bytes(8, "little")
    assert Judge(**SETTINGS).recovered(DiskImage(tuple(sorted({**files, base: whole}.items())))) == A
    with pytest.raises(ViolationError, match=r"base\.rdb, byte 9"):
        Judge(**SETTINGS).recovered(DiskImage(tuple(sorted({**files, base: whole[:-1]}.items()))))


@pytest.mark.parametrize("form", ["rdb", "aof"])
def test_a_base_that_is_written_meanwhile_holds_the_data_of_before(form):
    watched = trial(SimFs(), 3)
    with watched:
        watched.turn([("SET", "a", 1)])
        watched.set_base_form(form)
        watched.rewrite_while(lambda: watched.turn([("SET", "b", 1)]))
        watched.turn([("SET", "c", 1)])
    assert any(name.endswith(f".2.base.{form}") for _, name in watched.operations)
    assert len(watched.history) == 4
