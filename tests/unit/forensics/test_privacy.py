"""What looks like personal data, and a log without it."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.kernels import FORMS, kernel

import aofnb
from aofnb.errors import AofError
from aofnb.forensics import permutation, pseudonym
from aofnb.forensics.privacy import PII_KINDS, hits
from aofnb.forensics.pseudonym import Pseudonyms
from aofnb.forensics.roles import template
from aofnb.resp.encode import encode_command

SECRET = b"0123456789abcdef"
UUID = "550e8400-e29b-41d4-a716-446655440000"
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


# Each with the places of what stays.
SHAPES = [
    ([b"ZADD", b"z", b"GT", b"CH", b"1.5", b"mail", b"(2", b"5"], {2, 3, 4, 6}),
    ([b"ZADD", b"z", b"1", b"10"], {2}),
    ([b"ZADD", b"z", b"nx", b"1", b"NX"], {2, 3}),
    ([b"XADD", b"s", b"5-1", b"7", b"MAXLEN"], {2}),
    ([b"XADD", b"s", b"NOMKSTREAM", b"MAXLEN", b"=", b"100", b"5-2", b"7", b"8"], {2, 3, 4, 5, 6}),
    ([b"XADD", b"s", b"MAXLEN", b"100", b"5-3", b"7", b"8"], {2, 3, 4}),
    ([b"xadd", b"s", b"minid", b"~", b"1-1", b"LIMIT", b"9", b"*", b"7", b"8"], {2, 3, 4, 5, 6, 7}),
    ([b"SADD", b"set", *(b"%d" % number for number in range(100, 300))], set()),
    ([b"MSET", b"k1", b"EX", b"k2", b"12"], set()),
    ([b"SET", b"k", b"HYLLxyz", b"EX", b"60"], {2, 3, 4}),
    ([b"EVAL", b"return redis.call('GET', KEYS[1])", b"1", b"key", b"word"], {1, 2}),
    ([b"PEXPIREAT", b"k", b"1790000000000"], {2}),
    ([b"SELECT", b"3"], {1}),
    ([b"SETEX", b"k", b"60", b"60"], {2}),
    ([b"NOSUCH", b"EX", b"17"], set()),
]


def test_what_commands_work_with_stays_and_all_else_goes(tmp_path):
    path = tmp_path / "log.aof"
    # Every shape twice, and not one behind the other: the places are remembered.
    path.write_bytes(b"".join(encode_command(argv) for argv, _ in SHAPES + SHAPES))
    aofnb.scan(path).anonymize(tmp_path / "new", secret=SECRET, verify=False)
    made = list(aofnb.read_aof(tmp_path / "new", columns=["args"])["args"])
    assert len(made) == 2 * len(SHAPES)
    for (argv, stay), new in zip(SHAPES + SHAPES, made, strict=True):
        assert list(new[1:]) == [arg if place in stay else of(arg) for place, arg in enumerate(argv) if place]


def test_what_stands_between_commands_is_not_taken_over(tmp_path):
    path = tmp_path / "log.aof"
    command = encode_command([b"SET", b"k", b"v"])
    path.write_bytes(b"#alice\r\n" + command + b"#TS:1700000000\r\n#bob\r\n" + command + b"#carol\r\n" + command)
    aofnb.scan(path).anonymize(tmp_path / "new", secret=SECRET, verify=False)
    [new] = (tmp_path / "new").rglob("*.base.aof")
    hidden = encode_command([b"SET", of(b"k"), of(b"v")])
    assert new.read_bytes() == hidden + b"#TS:1700000000\r\n" + 2 * hidden


def test_a_large_log_keeps_its_shape_and_none_of_its_words(tmp_path):
    """Larger than what is looked at together."""
    ids = [b"%08x-aaaa-4bbb-8ccc-%012x" % (number, number * 7919) for number in range(200)]
    argvs = []
    for number in range(30_000):
        argvs.append([b"SET", b"visitor:%s" % ids[number % 200], b'{"mail": "person%d@host.example"}' % number])
        argvs.append([b"HSET", b"account:%d" % (number % 1000), b"surname", b"Mustermann" * (number % 5)])
    path = tmp_path / "log.aof"
    path.write_bytes(b"".join(map(encode_command, argvs)))
    asked = []
    log = aofnb.scan(path)
    log.anonymize(
        tmp_path / "new", secret=SECRET, verify=False, progress=lambda done, total: asked.append((done, total))
    )
    assert asked[-1] == (path.stat().st_size,) * 2
    old, new = (aofnb.read_aof(place, columns=["key", "args"]) for place in (path, tmp_path / "new"))
    assert [list(map(len, argv)) for argv in new["args"]] == [list(map(len, argv)) for argv in old["args"]]
    pairs = {*zip(old.key, new.key, strict=True)}
    assert len(pairs) == old.key.nunique() == new.key.nunique()
    words = list(map(template, new.key.unique()))
    assert len(set(words)) == 2
    assert {re.sub("^[a-z]+", "", word) for word in words} == {":{uuid}", ":{n}"}
    data = b"".join(place.read_bytes() for place in (tmp_path / "new").rglob("*.aof"))
    for word in (b"visitor", b"account", b"person", b"host", b"example", b"surname", b"Muster", b"-aaaa-", b"-4bbb-"):
        assert word not in data


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


@given(st.lists(st.sampled_from(["user", "17", "9f86d081884c7d65", "0", "x", "Cart", UUID]), min_size=1, max_size=4))
def test_kinds_of_keys_stay_kinds(words):
    key = ":".join(words)
    assert re.sub("[A-Za-z]+", "w", template(of(key.encode()).decode())) == re.sub("[A-Za-z]+", "w", template(key))


def test_numbers_that_are_to_stay_do():
    assert Pseudonyms(SECRET, ("17", "1234567", "deadbeef99")).of(b"17:1234567:deadbeef99") == b"17:1234567:deadbeef99"


@pytest.mark.parametrize("codes", [range(0x80, 0x800), range(0x800, 0xD800), range(0x1F000, 0x21000)])
def test_characters_stay_different(codes):
    """Also those of scripts that share no alphabet."""
    text = "".join(map(chr, codes))
    made = of(text.encode()).decode()
    assert len(set(made)) == len(text)
    assert len(made.encode()) == len(text.encode())


def test_a_secret_makes_what_it_made_in_earlier_releases():
    """So that logs which were made months apart can be compared."""
    assert of(b"user:1042:cart 7 007 31337 04711 123456 012345 1234567890") == (
        b"wslq:6035:iczb 3 067 28843 09943 379645 016849 4217930439"
    )
    text = "Deadbeef1 550e8400-e29b-41d4-a716-446655440000 Mustermann \u6771\u4eac \u00e9"
    assert of(text.encode()).decode() == (
        "30c12e31b eaed8ec0-a5cc-28b3-66b0-757f6f9a6108 Fmdahokstf \u5bfd\u728a \u0151"
    )


@pytest.mark.parametrize("limit", ["_KNOWN", "_KNOWN_BYTES"])
def test_more_words_than_are_remembered_become_the_same(limit, monkeypatch):
    texts = [b"alpha:beta:alpha", b"gamma:caf\xc3\xa9:\xff", b"user:delta:alpha:1234567", b"beta:epsilon"]
    expected = [Pseudonyms(SECRET, ("user",)).of(text) for text in texts]
    monkeypatch.setattr(pseudonym, limit, 3)
    names = Pseudonyms(SECRET, ("user",))
    assert [names.of(text) for text in texts * 2] == expected * 2
    assert len(names._known) <= 3
    assert names._made.nbytes <= 100


@pytest.mark.parametrize("size", [1, 7, 40])
def test_what_is_looked_at_apart_becomes_what_it_becomes_together(size, monkeypatch):
    """Nothing that is one thing is cut."""
    text = f"user:{UUID}, {UUID.upper()}-9f86d081884c7d65; 1234567 caf\u00e9 12-34".encode() + b"\xff:a-b"
    together = of(text)
    monkeypatch.setattr(pseudonym, "_PIECE_BYTES", size)
    assert Pseudonyms(SECRET).of(text) == together


@pytest.mark.parametrize("size", range(1, 7))
def test_short_numbers_become_what_any_run_becomes(size):
    """Though they are made many at a time."""
    made = Pseudonyms(SECRET)
    words = [b"%0*d" % (size, number) for number in range(0, 10**size, max(10**size // 700, 1))]
    runs = np.frombuffer(b"".join(words), np.uint8)
    of_runs = made._permutation.of(runs, np.full(len(words), permutation.DIGITS, np.uint8), np.full(len(words), size))
    assert made.of(b":".join(words)).replace(b":", b"") == of_runs.tobytes()


def test_a_uuid_becomes_another_as_a_whole():
    """Groups of it that are the same say nothing, when others of that half are not."""
    texts = [UUID[:15] + digit + UUID[16:] for digit in "0123"]
    made = [of(text.encode()).decode() for text in texts]
    assert len({text.split("-")[0] for text in made}) == len(texts)
    assert of(UUID.upper().encode()).decode() == of(UUID.encode()).decode().upper()


@given(st.lists(st.sampled_from(["\u00e9", "\u6771", "\U0001f600", "\xff", "\xc3", "\xa9", "\x80", "\xed\xa0\x80"])))
def test_what_is_no_text_stays_apart_from_text(pieces):
    """Also where bytes of one run and of the next would be a character."""
    runs = [piece.encode("latin-1" if max(piece) <= "\xff" and piece != "\u00e9" else "utf-8") for piece in pieces]
    assert of(b":".join(runs)).split(b":") == [*map(of, runs or [b""])]


TEXTS = st.sampled_from(
    ["user", "a", "F", "7", "12", "123456", "1234567", "deadbeef1", "12345678", "cafe", "-", "-", ":", "é", "\xff"]
) | st.sampled_from(
    ["550e8400-e29b-41d4-a716-446655440000", "12345678-1234-1234-1234-123456789012", "1234", "12345678-"]
)


@pytest.mark.parametrize("form", FORMS)
@given(st.lists(st.lists(TEXTS, max_size=12).map(lambda pieces: "".join(pieces).encode("latin-1")), max_size=4))
@example([b"12345678-12345678-1234-1234-1234-123456789012", b"12345678-1234-1234-1234-", b"123456789012"])
def test_the_kernel_finds_the_runs_that_numpy_finds(form, texts):
    hot = kernel("aofnb.forensics._runs_cy", form)
    data = b"".join(b"a1%s\r\n" % text for text in texts)
    sizes = np.fromiter(map(len, texts), np.int64, len(texts))
    ends = np.cumsum(sizes + 4) - 2
    begins = ends - sizes
    made = []
    for kernel_or_not in (hot, SimpleNamespace(COMPILED=False)):
        with pytest.MonkeyPatch.context() as patch:
            if kernel_or_not is hot:
                kernel_or_not = SimpleNamespace(
                    COMPILED=True, runs=hot.runs, read=hot.read, write=hot.write, put=hot.put
                )
            patch.setattr(pseudonym, "_runs_cy", kernel_or_not)
            made.append(Pseudonyms(SECRET).hidden(data, begins, ends))
    assert made[0] == made[1] == b"".join(b"a1%s\r\n" % of(text) for text in texts)


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
@example("x4111 1111 1111 1111-4111111111111111.5111111111111 4111-1111-1111-1111  4111111111111")
def test_what_looks_personal_is_found_at_once_as_from_each_place(kind, text):
    found = [(hit.span(), hit[0]) for hit in hits(kind, text.encode())]
    assert found == [(hit.span(), hit[0]) for hit in re.finditer(PLAIN[kind], text.encode())]
