"""The simulated disk: what is there, what is durable, what a crash leaves."""

from __future__ import annotations

import errno
import os
import random

import pytest

from aofnb.lab.disk import SECTOR, DiskImage, Fault, SimFs

ROOT = os.path.abspath(os.sep)


def at(name: str) -> str:
    return os.path.join(ROOT, name)


def states(fs: SimFs, kind="power", metadata="any", limit=10_000) -> set[DiskImage]:
    return set(fs.crash_states(kind, metadata, limit=limit, rng=random.Random(0)))


def files(images: set[DiskImage]) -> set[frozenset[tuple[str, bytes | None]]]:
    return {frozenset((os.path.basename(path), content) for path, content in image.files) for image in images}


@pytest.fixture
def fs() -> SimFs:
    return SimFs()


def durable(fs: SimFs, name: str, content: bytes):
    """A file all of which is on the disk, open."""
    file = fs.create(at(name))
    file.write(content)
    file.fdatasync()
    fs.fsync_dir(ROOT)
    return file


def test_it_reads_what_was_written(fs):
    file = fs.create(at("a"))
    assert file.write(b"one") == 3
    fs.open_append(at("a")).write(memoryview(b"two"))
    assert fs.open_read(at("a")).read() == b"onetwo"
    assert fs.size(at("a")) == 6
    file.truncate(2)
    assert fs.open_read(at("a")).read() == b"on"
    fs.rename(at("a"), at("b"))
    assert fs.listdir(ROOT) == ["b"]
    assert not fs.exists(at("a"))
    file.write(b"e")
    assert fs.open_read(at("b")).read() == b"one"
    fs.create(at("b"))
    assert fs.size(at("b")) == 0
    fs.unlink(at("b"))
    assert fs.listdir(ROOT) == []


def test_directories_are_made_with_their_parents(fs):
    fs.mkdir(os.path.join(ROOT, "d", "e"))
    fs.mkdir(at("d"))
    assert fs.listdir(ROOT) == ["d"]
    assert fs.listdir(at("d")) == ["e"]


def test_errors_are_those_of_the_operating_system(fs):
    fs.create(at("file"))
    fs.mkdir(at("dir"))
    for call, number in (
        (lambda: fs.size(at("none")), errno.ENOENT),
        (lambda: fs.open_read(at("dir")), errno.EISDIR),
        (lambda: fs.unlink(at("none")), errno.ENOENT),
        (lambda: fs.rename(at("none"), at("x")), errno.ENOENT),
        (lambda: fs.listdir(at("none")), errno.ENOENT),
        (lambda: fs.listdir(at("file")), errno.ENOTDIR),
        (lambda: fs.create(os.path.join(at("none"), "x")), errno.ENOENT),
        (lambda: fs.mkdir(at("file")), errno.EEXIST),
        (lambda: fs.fsync_dir(at("none")), errno.ENOENT),
    ):
        with pytest.raises(OSError) as caught:
            call()
        assert caught.value.errno == number


# --- what a crash leaves ---------------------------------------------------------------------------------------


def test_what_is_synced_stays(fs):
    durable(fs, "a", b"data")
    for metadata in ("ordered", "any"):
        assert files(states(fs, metadata=metadata)) == {frozenset({("a", b"data")})}


def test_an_append_is_torn_anywhere_or_zeroed(fs):
    durable(fs, "a", b"old").write(b"new")
    found = {dict(image.files)[at("a")] for image in states(fs)}
    assert found == {b"old", b"oldn", b"oldne", b"oldnew", b"old\0\0\0"}
    assert {dict(image.files)[at("a")] for image in states(fs) if image.zeroed} == {b"old\0\0\0"}


def test_sectors_are_zeroed_first_last_or_one_of_them(fs):
    durable(fs, "a", b"x" * 10).write(b"y" * (2 * SECTOR))
    found = {dict(image.files)[at("a")] for image in states(fs) if image.zeroed}
    rest, end = SECTOR - 10, 10
    assert b"x" * 10 + bytes(rest) + b"y" * (SECTOR + end) in found
    assert b"x" * 10 + b"y" * rest + bytes(SECTOR) + b"y" * end in found
    assert b"x" * 10 + b"y" * rest + bytes(SECTOR + end) in found
    assert b"x" * 10 + bytes(2 * SECTOR) in found
    assert all(content.startswith(b"x" * 10) for content in found)


def test_a_cut_that_was_not_synced_may_be_undone(fs):
    file = durable(fs, "a", b"abcdef")
    file.truncate(3)
    file.write(b"X")
    assert {dict(image.files)[at("a")] for image in states(fs)} == {b"abcdef", b"abc", b"abcX", b"abc\0"}


def test_truncate_by_name_is_durable(fs):
    durable(fs, "a", b"abcdef")
    fs.truncate(at("a"), 3)
    assert files(states(fs)) == {frozenset({("a", b"abc")})}


def test_syncing_a_file_syncs_no_name(fs):
    file = fs.create(at("a"))
    file.write(b"data")
    file.fdatasync()
    assert files(states(fs)) == {frozenset(), frozenset({("a", b"data")})}
    assert files(states(fs, metadata="ordered")) == files(states(fs))


def test_names_are_lost_in_order_or_in_any(fs):
    durable(fs, "old", b"o")
    fs.rename(at("old"), at("new"))
    fs.create(at("c"))
    o = ("old", b"o")
    n = ("new", b"o")
    c = ("c", b"")
    ordered = {frozenset({o}), frozenset({n}), frozenset({n, c})}
    assert files(states(fs, metadata="ordered")) == ordered
    assert files(states(fs)) == ordered | {frozenset({o, c})}
    fs.fsync_dir(ROOT)
    assert files(states(fs)) == {frozenset({n, c})}


def test_syncing_a_directory_keeps_what_came_before_in_others_only_if_ordered(fs):
    fs.mkdir(at("d"))
    fs.fsync_dir(ROOT)
    fs.create(at("a"))
    fs.create(os.path.join(at("d"), "b"))
    fs.fsync_dir(at("d"))
    kept = frozenset({("d", None), ("b", b"")})
    assert files(states(fs)) == {kept, kept | {("a", b"")}}
    assert files(states(fs, metadata="ordered")) == {kept | {("a", b"")}}


def test_without_its_directory_a_file_is_not_found(fs):
    fs.mkdir(at("d"))
    fs.create(os.path.join(at("d"), "b"))
    fs.fsync_dir(at("d"))
    assert files(states(fs)) == {frozenset(), frozenset({("d", None), ("b", b"")})}


def test_a_removed_file_may_come_back_as_it_was_synced(fs):
    durable(fs, "a", b"data").write(b"more")
    fs.unlink(at("a"))
    assert frozenset({("a", b"data")}) in files(states(fs))
    assert frozenset() in files(states(fs))


def test_a_killed_process_leaves_all_it_wrote(fs):
    durable(fs, "a", b"old").write(b"new")
    fs.create(at("b"))
    assert files(states(fs, "kill")) == {frozenset({("a", b"oldnew"), ("b", b"")})}


def test_a_kill_inside_a_write_leaves_part_of_it(fs):
    file = durable(fs, "a", b"old")
    seen = set()
    fs.observer = lambda operation, path: seen.update(states(fs, "kill"))
    file.write(b"new")
    assert files(seen) == {frozenset({("a", b"old" + b"new"[:n])}) for n in range(4)}


def test_after_a_kill_the_page_cache_is_as_volatile_as_before(fs):
    file = durable(fs, "a", b"old")
    file.write(b"new")
    fs.rename(at("a"), at("b"))
    other = fs.killed()
    assert other.image() == fs.image()
    assert states(other) == states(fs)
    file.fdatasync()
    fs.fsync_dir(ROOT)
    assert frozenset({("a", b"old")}) in files(states(other))


def test_after_a_failed_fsync_none_helps(fs):
    file = durable(fs, "a", b"old")
    file.write(b"new")
    fs.faults = {fs.done: Fault(errno.EIO)}
    with pytest.raises(OSError):
        file.fdatasync()
    file.fdatasync()
    assert frozenset({("a", b"old")}) in files(states(fs))


def test_a_short_write_takes_a_part_and_the_next_one_fails(fs):
    file = durable(fs, "a", b"")
    fs.faults = {fs.done: Fault(errno.ENOSPC, taken=2)}
    assert file.write(b"data") == 2
    with pytest.raises(OSError) as caught:
        file.write(b"ta")
    assert caught.value.errno == errno.ENOSPC
    assert file.write(b"ta") == 2
    assert fs.open_read(at("a")).read() == b"data"


def test_an_image_is_a_disk_of_its_own(fs):
    durable(fs, "a", b"old").write(b"new")
    image = next(image for image in states(fs) if dict(image.files)[at("a")] == b"oldn")
    mounted = image.mount()
    assert mounted.image() == image
    assert states(mounted) == {image}
    mounted.open_append(at("a")).write(b"!")
    assert fs.open_read(at("a")).read() == b"oldnew"


def test_of_many_states_as_many_as_asked_are_drawn_and_always_the_extremes(fs):
    for name in "abcd":
        durable(fs, name, b"").write(b"x" * 50)
    images = list(fs.crash_states("power", "any", limit=20, rng=random.Random(3)))
    assert len(images) == 20
    contents = [tuple(content for _, content in image.files) for image in images]
    assert (b"",) * 4 in contents
    assert (b"x" * 50,) * 4 in contents
    assert images == list(fs.crash_states("power", "any", limit=20, rng=random.Random(3)))
