"""What looks like personal data, and a log without it."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import aofnb
from aofnb.errors import AofError
from aofnb.forensics.privacy import PII_KINDS, hits
from aofnb.forensics.pseudonym import Pseudonyms
from aofnb.forensics.roles import template
from aofnb.resp.encode import encode_command

SECRET = b"0123456789abcdef"
of = Pseudonyms(SECRET).of


@pytest.fixture
def log(tmp_path):
    argvs = [
        [b"SELECT", b"0"],
        [b"SET", b"user:17:mail", b"alice@example.com", b"PXAT", b"4000000000000"],
        [b"SET", b"user:18:mail", b"bob@example.com"],
        [b"HSET", b"h", b"card", b"4111 1111 1111 1111", b"no card", b"4111 1111 1111 1112"],
        [
            b"SET",
            b"session:9f86d081884c7d65",
            b'{"ip": "10.1.2.3", "tel": "+49 170 1234567", "fax": "+1 202 555 0142"}',
        ],
        [b"SET", b"carol@example.com", b"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abcdefgh"],
        [b"MULTI"],
        [b"ZADD", b"z", b"NX", b"1.5", b"member", b"-inf", b"other"],
        [b"XADD", b"s", b"MAXLEN", b"~", b"100", b"LIMIT", b"5", b"1-1", b"7", b"8"],
        [b"EXEC"],
        [b"LPUSH", b"l", b"a\r\nb", b"7", b""],
        [b"LREM", b"l", b"1", b"7"],
        [b"INCRBY", b"n", b"5"],
        [b"PEXPIREAT", b"h", b"4000000000000"],
        [b"NOSUCH.CMD", b"secret", b"12"],
    ]
    path = tmp_path / "log.aof"
    path.write_bytes(b"#TS:1700000000\r\n" + b"".join(map(encode_command, argvs)))
    return aofnb.scan(path)


def test_what_is_found_is_counted_and_masked(log):
    found = log.find_pii()
    kinds = dict(zip(found.kind, found["count"], strict=True))
    assert kinds["card"] == 1  # the other one fails its check digit
    assert found[found.kind == "email"]["count"].sum() == 3
    assert {"ip", "phone", "jwt"} <= set(found.kind)
    text = found.to_string()
    assert not re.search("alice|carol|bob|4111|10.1.2|170|eyJ", text)
    assert "{email}" in set(found.template)
    first = found[found.template == "user:{n}:mail"].iloc[0]
    assert (first["count"], first.commands, first["first"]) == (2, 2, 1)


def test_examples_are_shown_only_if_asked_for(log):
    found = log.find_pii("email", show=True)
    assert "alice@example.com" in set(found.example)
    with pytest.raises(ValueError, match="no kind 'name'"):
        log.find_pii(["name"])


def test_the_anonymous_log_has_the_same_shape_and_none_of_the_words(log, tmp_path):
    written = log.anonymize(tmp_path / "new", secret=SECRET)
    old, new = (
        aofnb.read_aof(path, columns=["args", "key", "cmd", "ts", "txn", "nbytes", "status"])
        for path in (log.source, tmp_path / "new")
    )
    for column in ("cmd", "ts", "txn", "nbytes", "status"):
        assert new[column].equals(old[column])
    assert [list(map(len, argv)) for argv in new["args"]] == [list(map(len, argv)) for argv in old["args"]]
    assert new.key.nunique() == old.key.nunique()
    data = b"".join(path.read_bytes() for path in (tmp_path / "new").rglob("*.aof"))
    for word in (b"alice", b"example", b"4111", b"10.1.2.3", b"member", b"secret", b"user", b"1234567"):
        assert word not in data
    for kept in (b"4000000000000", b"1.5", b"-inf", b"MAXLEN", b"1-1", b"PXAT", b"#TS:1700000000"):
        assert kept in data
    # What was pushed is what is removed.
    assert new["args"][11][3] == new["args"][10][3]
    assert [problem for problem in written.problems if "NOSUCH" not in problem] == []


def test_words_may_stay(log, tmp_path):
    log.anonymize(tmp_path / "new", secret=SECRET, plain=["user", "mail"], verify=False)
    keys = aofnb.read_aof(tmp_path / "new").key
    assert keys[1].startswith("user:")
    assert keys[1].endswith(":mail")


def test_the_same_secret_makes_the_same_log(log, tmp_path):
    logs = []
    for name, secret in (("a", SECRET), ("b", SECRET), ("c", SECRET[::-1])):
        log.anonymize(tmp_path / name, secret=secret, verify=False)
        logs.append(b"".join(path.read_bytes() for path in sorted((tmp_path / name).rglob("*.aof"))))
    assert logs[0] == logs[1] != logs[2]


def test_values_in_payloads_of_restore_are_hidden_too(tmp_path):
    fill = [
        ["HSET", "h", "name", "alice", "age", "42"],
        ["RPUSH", "l", *(f"alice {n}" for n in range(300))],
        ["ZADD", "z", "1.5", "alice"],
        ["XADD", "s", "1-1", "who", "alice"],
        ["SET", "t", "alice " * 50],
    ]
    with aofnb.open(None) as store:
        for argv in fill:
            store.execute(*argv)
        payloads = [(argv[1].encode(), store.execute("DUMP", argv[1])) for argv in fill]
    path = tmp_path / "log.aof"
    path.write_bytes(
        b"".join(encode_command([b"RESTORE", key, b"0", payload, b"REPLACE"]) for key, payload in payloads)
    )
    written = aofnb.scan(path).anonymize(tmp_path / "new", secret=SECRET, verify=True)
    assert not written.problems
    with aofnb.open(tmp_path / "new", readonly=True) as store:
        kinds = {store.execute("TYPE", key): key for key in store.execute("KEYS", "*")}
        assert set(kinds) == {"hash", "list", "zset", "stream", "string"}
        fields = store.execute("HGETALL", kinds["hash"])
        assert [len(word) for word in fields] == [4, 5, 3, 2]
        assert store.execute("LLEN", kinds["list"]) == 300
        assert store.execute("ZRANGE", kinds["zset"], 0, -1, "WITHSCORES")[1] == b"1.5"
        assert b"alice" not in store.execute("GET", kinds["string"])
    assert b"alice" not in b"".join(each.read_bytes() for each in (tmp_path / "new").rglob("*.aof"))


def test_what_cannot_be_hidden_is_refused(tmp_path):
    path = tmp_path / "log.aof"
    path.write_bytes(encode_command([b"RESTORE", b"k", b"0", b"payload"]))
    with pytest.raises(ValueError, match=r"cannot be read, so not disguised: .*payload"):
        aofnb.scan(path).anonymize(tmp_path / "new", secret=SECRET)
    assert not (tmp_path / "new").exists()
    with pytest.raises(ValueError, match="16 bytes"):
        aofnb.scan(path).anonymize(tmp_path / "new", secret=b"short")
    with pytest.raises(AofError, match="something there"):
        aofnb.scan(path).anonymize(tmp_path, secret=SECRET)


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_different_words_stay_different_and_as_long(a, b):
    assert len(of(a)) == len(a)
    assert (of(a) == of(b)) == (a == b)


@given(st.text(max_size=30))
def test_text_stays_text(text):
    assert len(of(text.encode()).decode()) == len(text)


@given(st.lists(st.sampled_from(["user", "17", "9f86d081884c7d65", "0", "x", "Cart"]), min_size=1, max_size=4))
def test_kinds_of_keys_stay_kinds(words):
    key = ":".join(words)
    assert re.sub("[A-Za-z]+", "w", template(of(key.encode()).decode())) == re.sub("[A-Za-z]+", "w", template(key))


def test_numbers_stay_numbers():
    for digits in (1, 2, 3):
        mapped = {of(b"%d" % number) for number in range(10 ** (digits - 1), 10**digits)}
        assert mapped == {b"%d" % number for number in range(10 ** (digits - 1), 10**digits)}


def test_the_name_in_an_address_has_64_characters_at_most():
    """So a run of letters, of which logs have long ones, is gone over once."""
    find = PII_KINDS["email"].findall
    assert find(b"<alice@example.com>, bob@example.org") == [b"alice@example.com", b"bob@example.org"]
    assert find(b"x" * 64 + b"@example.com")
    assert not find(b"x" * 65 + b"@example.com")


# What PII_KINDS says, in the plainest form.
PLAIN = {
    "email": rb"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}",
    "jwt": rb"eyJ[A-Za-z0-9_-]{5,4096}\.eyJ[A-Za-z0-9_-]{5,4096}\.[A-Za-z0-9_-]{5,4096}",
    "card": rb"(?<![0-9.-])[3-6][0-9]{3}(?:[ -]?[0-9]{4}){2}[ -]?[0-9]{1,7}(?![0-9])",
    "phone": rb"(?<![0-9A-Za-z+])\+[1-9](?:[ ().-]{0,2}[0-9]){7,13}(?![0-9])",
    "ip": rb"(?<![0-9.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![0-9.])",
}
PERSONAL = ["1.2.3.4", "10.20.30.40", "a@b.co", "x@y.org.", "+4915112345678", "4111 1111 1111 1111", "555", "-", "."]
LITTLE = [*".@+- 123456789ax\n", "a" * 64, "eyJabcdef", ".eyJabcdef.abcdef", "1234", "\r\n", "(", ")"]


@pytest.mark.parametrize("kind", PII_KINDS)
@given(st.lists(st.sampled_from([*PERSONAL, *LITTLE]), max_size=30).map("".join))
@example("+x+4915112345678+4915112345678")
@example("1.2.3.4.5 1.2.3.4")
@example("a@b.com.c@d.org")
def test_what_looks_personal_is_found_at_once_as_from_each_place(kind, text):
    found = [(hit.span(), hit[0]) for hit in hits(kind, text.encode())]
    assert found == [(hit.span(), hit[0]) for hit in re.finditer(PLAIN[kind], text.encode())]
