"""HyperLogLog commands: what needs no server to be known."""

import pytest

import aofnb


@pytest.fixture
def store():
    with aofnb.open(None, background=False) as store:
        yield store


def test_the_selftest_passes(store):
    assert store.execute("PFSELFTEST") == "OK"


def test_pfcount_of_one_key_is_logged_once_for_each_change(tmp_path):
    with aofnb.open(tmp_path, background=False) as store:
        store.execute("PFADD", "p", "a", "b")
        assert [store.execute("PFCOUNT", "p") for _ in range(3)] == [2, 2, 2]
        assert store.execute("PFCOUNT", "p", "q") == 2
    log = next((tmp_path / "appendonlydir").glob("*.incr.aof")).read_bytes()
    assert log.count(b"PFCOUNT") == 1


def test_a_copy_is_not_changed_with_its_source(store):
    store.execute("PFADD", "p", "a")
    before = store.execute("GET", "p")
    store.execute("SET", "q", before)
    store.execute("PFADD", "q", "b", "c")
    assert store.execute("GET", "p") == before
    assert store.execute("PFCOUNT", "q") == 3


def test_the_size_limit_of_the_sparse_form_is_a_setting(store):
    store.config_set("hll-sparse-max-bytes", 0)
    store.execute("PFADD", "p", "a")
    assert store.execute("PFDEBUG", "ENCODING", "p") == "dense"


@pytest.mark.parametrize("value", ["", "text", "HYLL"])
def test_another_string_is_refused_and_kept(store, value):
    store.execute("SET", "s", value)
    for argv in (["PFADD", "s", "a"], ["PFCOUNT", "s"], ["PFMERGE", "d", "s"]):
        with pytest.raises(aofnb.ReplyError, match="not a valid HyperLogLog"):
            store.execute(*argv)
    assert store.execute("GET", "s") == value.encode()
    assert store.execute("EXISTS", "d") == 0
