"""Rights cost nothing where they are not limited, and hold where they are; texts are compared in tests/conformance."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import aofnb
from aofnb.commands.acl_users import Selector, User, _access, redacted
from aofnb.commands.registry import all_commands
from aofnb.commands.server import categories
from aofnb.errors import ConfigError, ReplyError

FACTS = json.loads((Path(__file__).parents[2] / "data" / "commands-7.0.15.json").read_text())


@pytest.fixture
def store():
    with aofnb.open(None, background=False, seed=1) as store:
        yield store


def stranger(store):
    return aofnb.engine.Session(store.engine, store.engine.new_client(trusted=False))


@pytest.mark.parametrize("command", [c for c in all_commands() if c.name.lower() in FACTS], ids=lambda c: c.name)
def test_categories_are_the_servers(command):
    assert sorted(f"@{name}" for name in categories(command)) == FACTS[command.name.lower()]["categories"]


@pytest.mark.parametrize(
    ("flags", "needed"),
    [("RO", ""), ("RO access", "R"), ("RW insert", "W"), ("RM delete", "W"), ("RW access update", "RW")],
)
def test_what_a_use_of_a_key_needs(flags, needed):
    assert _access(flags.split()) == needed


def test_the_session_of_the_process_may_do_everything_whatever_the_default_user_may(store):
    store.execute("ACL", "SETUSER", "default", "resetpass", ">secret", "-@all")
    assert store.execute("SET", "k", "v") == "OK"
    assert not store.engine.long_way


def test_who_is_restricted_takes_the_long_way_and_nobody_else(store):
    client = stranger(store)
    store.execute("CONFIG", "SET", "requirepass", "secret")
    late = stranger(store)
    assert (store.engine.long_way, client.client.limited, late.client.limited) == (False, False, True)
    assert client.execute("GET", "k") is None
    with pytest.raises(ReplyError, match="NOAUTH"):
        late.execute("GET", "k")
    late.execute("AUTH", "secret")
    assert late.execute("GET", "k") is None
    assert not late.client.limited
    store.execute("ACL", "SETUSER", "default", "-set")
    assert (store.engine.long_way, late.client.limited) == (False, True)
    assert store.execute("SET", "k", "v") == "OK"
    denied = "NOPERM this user has no permissions to run the 'set' command"
    with pytest.raises(ReplyError, match=denied):
        late.execute("SET", "k", "v")
    assert list(map(str, late.run([("GET", "k"), ("SET", "k", "w"), ("GET", "k")]))) == ["b'v'", denied, "b'v'"]


def test_who_listens_stays_limited_whatever_else_it_may(store):
    client = stranger(store)
    client.on_push = [].append
    client.execute("SUBSCRIBE", "x")
    store.execute("ACL", "SETUSER", "default", "-set")
    store.execute("ACL", "SETUSER", "default", "+@all")
    assert client.client.limited
    client.execute("UNSUBSCRIBE")
    assert not client.client.limited


def test_a_session_may_become_someone_else_and_back(store):
    store.execute("ACL", "SETUSER", "reader", "on", "nopass", "+@read", "~*")
    store.execute("AUTH", "reader", "any")
    with pytest.raises(ReplyError, match="NOPERM this user has no permissions to run the 'set' command"):
        store.execute("SET", "k", "v")
    store.execute("RESET")
    assert store.execute("SET", "k", "v") == "OK"


def test_whose_user_is_deleted_has_no_more_rights_than_a_stranger(store):
    store.execute("ACL", "SETUSER", "bob", "on", "nopass", "+@all", "~*")
    store.execute("ACL", "SETUSER", "default", "resetpass", ">secret")
    session = store.session()
    session.execute("AUTH", "bob", "x")
    store.execute("ACL", "DELUSER", "bob")
    with pytest.raises(ReplyError, match="NOAUTH"):
        session.execute("GET", "k")


def test_rules_that_are_described_make_the_same_user_again():
    for rules in ("+@all -@write +set", "+@read +config|get +select|3 -get", "%R~a ~b &c +@string", "-@all +client"):
        user = User(b"u", all_channels=False).changed(rules.encode().split(), all_channels=False)
        again = User(b"u", all_channels=False).changed(user.rules.encode().split(), all_channels=False)
        assert again.selectors[0].commands == user.selectors[0].commands
        assert again.rules == user.rules


def test_a_mistake_in_a_rule_changes_nothing(store):
    before = store.execute("ACL", "LIST")
    with pytest.raises(ReplyError, match="modifier '\\+nosuch'"):
        store.execute("ACL", "SETUSER", "default", "off", "+nosuch")
    assert store.execute("ACL", "LIST") == before


def test_users_are_kept_in_the_acl_file(tmp_path):
    (tmp_path / "users.acl").write_text("# who may\nuser bob on >pw ~k* +get (~x +set)\n")
    with aofnb.open(tmp_path / "data", background=False, aclfile=str(tmp_path / "users.acl")) as store:
        assert store.execute("ACL", "USERS") == [b"bob", b"default"]
        store.execute("ACL", "SETUSER", "eve", "on")
        store.execute("ACL", "SAVE")
        lines = store.execute("ACL", "LIST")
        assert (tmp_path / "users.acl").read_bytes() == b"".join(line + b"\n" for line in lines)
        (tmp_path / "users.acl").write_text("user bob on +nosuch\nfoo\n")
        with pytest.raises(ReplyError, match=r"users.acl:1: Error in applying operation '\+nosuch'.*users.acl:2: line"):
            store.execute("ACL", "LOAD")
        assert store.execute("ACL", "LIST") == lines
    with pytest.raises(ConfigError, match="aclfile"):
        aofnb.open(tmp_path / "data", background=False, aclfile=str(tmp_path / "users.acl"))


def test_the_log_groups_what_is_the_same_and_is_bounded(store):
    store.execute("CONFIG", "SET", "acllog-max-len", 2)
    store.execute("ACL", "SETUSER", "no", "on", "nopass")
    session = store.session()
    session.execute("AUTH", "no", "x")
    for name in ("GET a", "GET b", "SET a 1", "DBSIZE", "GET c"):
        with pytest.raises(ReplyError, match="NOPERM"):
            session.execute(*name.split())
    entries = [dict(zip(entry[::2], entry[1::2], strict=True)) for entry in store.execute("ACL", "LOG")]
    assert [(entry[b"object"], entry[b"count"]) for entry in entries] == [(b"get", 1), (b"dbsize", 1)]


def test_passwords_are_shown_to_nobody(store):
    assert redacted([b"HELLO", b"3", b"AUTH", b"u", b"p", b"SETNAME", b"n"])[3:5] == [b"(redacted)"] * 2
    lines, listener = [], store.session()
    listener.on_push = lines.append
    listener.execute("MONITOR")
    store.execute("ACL", "SETUSER", "u", "on", ">secret")
    store.execute("AUTH", "u", "secret")
    assert "secret" not in str(lines)
    assert "secret" not in str(store.engine.users.by_name[b"u"].rules)


def test_all_keys_of_a_selector_must_be_allowed_by_it_alone():
    selector = Selector()
    for rule in (b"+mget", b"%R~a*", b"~b*"):
        selector.apply(rule)
    command = next(each for each in all_commands() if each.name == "MGET")
    assert selector.denies(command, [b"MGET", b"a1", b"b1"]) is None
    denied = selector.denies(command, [b"MGET", b"a1", b"c1"])
    assert denied is not None
    assert (denied.reason, denied.object) == ("key", b"c1")
