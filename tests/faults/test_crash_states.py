"""Whatever a kill or a power cut leaves at any moment, a start finds a prefix of what was issued, as long as promised.

More than a hundred thousand states, each opened by the real loader: `aofnb.lab.crash` says how, and what is checked.
"""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Literal

import pytest

from aofnb.errors import AofError
from aofnb.lab import DiskImage, Fault, Judge, SimFs, Trial, everyday
from aofnb.lab.crash import DIRECTORY

pytestmark = pytest.mark.slow

Policy = Literal["always", "everysec", "no"]
POLICIES: tuple[Policy, ...] = ("always", "everysec", "no")
SETTINGS = {"auto_aof_rewrite_percentage": 0, "databases": 2}

# What each test must reach; `test_there_are_a_hundred_thousand_states` adds them up.
EVERYDAY, SLOW_DISK, SWITCHES, UPGRADE, ANNOTATED, FAULTS = 9_000, 4_000, 4_000, 2_000, 4_000, 15_000


@pytest.fixture
def judge(record_property: Callable[[str, object], None]):
    """A judge that tells at the end how much it judged."""
    judges: list[Judge] = []

    def make(**settings: Any) -> Judge:
        judges.append(Judge(**{**SETTINGS, **settings}))
        return judges[-1]

    yield make
    for each in judges:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(each.by_kind.items()))
        print(f"{each.states} crash states ({kinds}), {each.images} different images")
        record_property("crash states", each.states)
        record_property("different images", each.images)


def test_there_are_a_hundred_thousand_states() -> None:
    per_policy = 2 * EVERYDAY + UPGRADE + 2 * FAULTS
    assert 3 * per_policy + SLOW_DISK + SWITCHES + ANNOTATED >= 100_000


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("policy", POLICIES)
def test_transactions_databases_deadlines_and_rewrites(policy: Policy, seed: int, judge) -> None:
    rng = random.Random(seed)
    judged = judge()
    with Trial(SimFs(), judged, rng=rng, recoveries=0.12, appendfsync=policy) as trial:
        for _ in range(40):
            everyday(trial, rng, 10)
            trial.reopen()
            if judged.states >= EVERYDAY:
                break
    assert judged.states >= EVERYDAY


def test_a_disk_on_which_fsync_takes_seconds(judge) -> None:
    """Under everysec writes are postponed, at most two seconds, and what is called synced is synced."""
    rng = random.Random(5)
    judged = judge()
    with Trial(SimFs(), judged, rng=rng, recoveries=0.05, appendfsync="everysec") as trial:
        while judged.states < SLOW_DISK:
            trial.wait(1)
            trial.hold_fsyncs()
            everyday(trial, rng, 6)
            trial.wait(2)
            trial.turn([("INCR", "late")])
            trial.release_fsyncs()
            trial.wait(1)
        writer = trial.store.engine.writer
        assert writer is not None
        assert writer.delayed_fsync > 0


def test_policies_that_change_on_the_way(judge) -> None:
    rng = random.Random(6)
    judged = judge()
    with Trial(SimFs(), judged, rng=rng, recoveries=0.05, appendfsync="no") as trial:
        while judged.states < SWITCHES:
            trial.set_policy(rng.choice(POLICIES))
            everyday(trial, rng, 3)


def test_annotations_and_replaced_files_that_are_kept(judge) -> None:
    """With timestamps on; and with aof-disable-auto-gc the manifest goes on listing files that nobody loads."""
    judged = judge(aof_timestamp_enabled=True, aof_disable_auto_gc=True)
    rng = random.Random(7)
    with Trial(SimFs(), judged, rng=rng, recoveries=0.05) as trial:
        while judged.states < ANNOTATED:
            everyday(trial, rng, 4)
            trial.wait(1)


OLD_LOG = b"*3\r\n$3\r\nSET\r\n$3\r\nold\r\n$1\r\n1\r\n"
OLD_CONTENT = ((0, b"old", None, ((b"SET", b"old", b"1"),)),)


@pytest.mark.parametrize("policy", POLICIES)
def test_the_single_file_of_an_older_version_moves_in(policy: Policy, judge) -> None:
    parent = os.path.dirname(DIRECTORY)
    files = ((parent, None), (DIRECTORY, None), (os.path.join(DIRECTORY, "appendonly.aof"), OLD_LOG))
    judged = judge()
    rng = random.Random(8)
    while judged.states < UPGRADE:
        disk = DiskImage(files).mount()
        with Trial(disk, judged, rng=rng, recoveries=0.3, history=[OLD_CONTENT], appendfsync=policy) as trial:
            everyday(trial, rng, 4)


# --- crashes after failures ------------------------------------------------------------------------------------


def run_with_faults(faults: dict[int, Fault], judged: Judge, policy: Policy, seed: int) -> int:
    """A short life on a disk with faults; how many operations it took."""
    disk = SimFs()
    disk.faults = faults
    rng = random.Random(seed)
    with ExitStack() as stack:
        try:
            trial = stack.enter_context(Trial(disk, judged, limit=16, rng=rng, appendfsync=policy))
        except (AofError, OSError):
            # The failure was met while opening: someone tries again.
            trial = stack.enter_context(Trial(disk, judged, limit=16, rng=rng, appendfsync=policy))
        trial.turn([("INCR", "n"), ("RPUSH", "list", "a")])
        trial.wait(1)
        trial.turn([("INCR", "n")])
        trial.rewrite()
        trial.rewrite_while(lambda: trial.turn([("INCR", "n")]))
        everyday(trial, rng, 3)
        trial.wait(1)
    return disk.done


@pytest.mark.parametrize("fault", [Fault(errno.EIO), Fault(errno.ENOSPC, taken=9)], ids=["fails", "short"])
@pytest.mark.parametrize("policy", POLICIES)
def test_any_one_operation_failed_before_the_crash(policy: Policy, fault: Fault, judge) -> None:
    judged = judge()
    operations = run_with_faults({}, judged, policy, 9)
    assert operations > 40
    for number in range(operations):
        run_with_faults({number: fault}, judged, policy, 9)
    assert judged.states >= FAULTS
