"""Snapshots that servers of all ages wrote, damaged ones, and what is read from each."""

from __future__ import annotations

import io
import json
import random
import tracemalloc
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from support.snapshots import RDB, described, expected_files, public_snapshots, verdicts

from aofnb.errors import RdbError
from aofnb.rdb import Entry, RdbReader, is_rdb, load_rdb
from aofnb.rdb.crc64 import crc64
from aofnb.rdb.listpack import encode_listpack
from aofnb.rdb.lzf import compress
from aofnb.rdb.primitives import length
from aofnb.rdb.source import Source
from aofnb.store.keyspace import Keyspace
from aofnb.store.stream import Stream, format_id

FILES = {name: facts for name, facts in expected_files().items() if name.endswith(".rdb")}
VERDICTS = verdicts()
# More strictly than the server: it takes these, and what it makes of them is chance.
STRICTER = {
    "ascii_double_hex", "ascii_double_suffix", "ascii_double_us", "count_encval", "zset_lp_badscore",
}  # fmt: skip
# Read whole where the server refuses: what it misses is no part of the file.
KINDER = {
    "db_99", "db_huge", "dup_key", "function_bad", "module_aux", "module_unknown", "slot_info",
}  # fmt: skip
# The server answers with the length that the file claims.
WRONG_LENGTH = "stream_length"


def keyspace() -> Keyspace:
    made = Keyspace(16, lambda: 0)
    made.expiring = False
    return made


def read(data: bytes, **options: Any) -> tuple[list[Entry], RdbReader]:
    reader = RdbReader(io.BytesIO(data), **options)
    return list(reader), reader


def frame(body: bytes, version: int = 10, magic: bytes = b"REDIS") -> bytes:
    digits = 4 if magic == b"REDIS" else 3
    data = magic + b"%0*d" % (digits, version) + body + b"\xff"
    return data + (crc64(data).to_bytes(8, "little") if version >= 5 else b"")


# --- files of real servers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
def test_a_file_reads_to_what_the_server_says_is_in_it(name: str) -> None:
    facts = FILES[name]
    entries, reader = read((RDB / "generated" / name).read_bytes())
    found = sorted((described(entry) for entry in entries), key=lambda e: (e["db"], e["key"]))
    expected = facts["keys"]
    # Written by hand with what no server writes: a listpack out of order, which the server then leaves so.
    for entry in (*found, *expected):
        if entry["key"] == "cz_unsorted":
            entry["value"].sort(key=lambda pair: float(pair[1]))
        elif entry["type"] == "hash":
            entry["value"].sort(key=repr)
    assert [e["key"] for e in found] == [e["key"] for e in expected]
    for ours, theirs in zip(found, expected, strict=True):
        # OBJECT ENCODING from before the file was saved, and of limits that were other than the defaults.
        if name in ("raw_encodings.rdb", "strings.rdb"):
            ours["encoding"] = theirs["encoding"]
        assert ours == theirs
    assert reader.version == facts["rdb_version"]
    assert reader.checksum == facts["checksum"]
    assert [[n.decode("latin-1"), v.decode("latin-1")] for n, v in reader.aux] == facts["aux"]
    assert sorted(each.code.decode("latin-1") for each in reader.functions) == sorted(facts["functions"])
    hints = [(entry.db, entry.type_byte, entry.idle_s, entry.freq) for entry in entries]
    assert hints == [(h["db"], h["type_byte"], h["idle"], h["freq"]) for h in facts["per_key_hints"]]
    assert reader.end == (RDB / "generated" / name).stat().st_size
    assert (reader.skipped, reader.warnings, reader.empty_keys) == ([], [], 0)


def test_stream_nodes_have_the_size_they_have_on_disk() -> None:
    """On it depends where later entries go, and so what approximate trimming removes."""
    data = (RDB / "generated" / "streams.rdb").read_bytes()
    entries, _ = read(data)
    nodes = [(node, entry) for entry in entries if isinstance(entry.value, Stream) for node in entry.value.nodes]
    assert len(nodes) > 15
    for node, entry in nodes:
        entry.value._check()
        key = b"\x10" + node.master_id[0].to_bytes(8, "big") + node.master_id[1].to_bytes(8, "big")
        at = data.index(key, entry.offset, entry.end) + len(key)
        assert len(Source.of(data[at:]).string()) == node.listpack_bytes


@pytest.mark.parametrize("piece", [1, 7, 100])
def test_a_file_that_comes_in_small_pieces_reads_the_same(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    data = (RDB / "generated" / "handmade_v10.rdb").read_bytes()
    expected = [(e.key, e.offset, e.end) for e in read(data)[0]]
    monkeypatch.setattr("aofnb.rdb.source.PIECE", piece)

    class Dribble(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(min(size or 0, 33))

    reader = RdbReader(Dribble(data), len(data))
    assert [(e.key, e.offset, e.end) for e in reader] == expected
    assert reader.checksum == "ok"


# --- damaged files ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(VERDICTS))
def test_a_damaged_file_is_refused_or_reads_as_the_server_reads_it(name: str) -> None:
    data = (RDB / "hostile" / f"{name}.rdb").read_bytes()
    verdict = VERDICTS[name]
    sound = verdict["redis_check_rdb_exit"] == 0
    tracemalloc.start()
    try:
        entries, _ = read(data)
        outcome = None
    except RdbError as problem:
        outcome = problem
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000
    if outcome is not None:
        assert not sound or name in STRICTER | {"module_op9", "db_huge"}
        assert outcome.offset is not None
        assert outcome.offset <= len(data)
        return
    assert name not in STRICTER
    if verdict["server_7_0_15"] == "refuses":
        assert name in KINDER
    elif name != WRONG_LENGTH:
        # Overdue keys are the loader's business, and the server dropped them.
        found = [described(e) for e in entries if e.expire_ms is None or e.expire_ms > 1_800_000_000_000]
        if name == "zset_lp_unsorted":  # the server leaves it so
            verdict["keys"][1]["value"].reverse()
        assert sorted(found, key=lambda e: (e["db"], e["key"])) == verdict["keys"]


@pytest.mark.parametrize("name", sorted(KINDER - {"slot_info"}))
def test_what_is_no_damage_and_still_cannot_be_loaded_is_refused_by_the_loader(name: str) -> None:
    with open(RDB / "hostile" / f"{name}.rdb", "rb") as file, pytest.raises(RdbError):
        load_rdb(file, keyspace())


def test_a_stream_that_is_wrong_about_its_length_has_what_is_in_it() -> None:
    entries, reader = read((RDB / "hostile" / f"{WRONG_LENGTH}.rdb").read_bytes())
    assert [len(e.value) for e in entries if isinstance(e.value, Stream)] == [1]
    assert reader.warnings == ["a stream says that it has 7 entries, and has 1"]


@pytest.mark.parametrize("name", ["strings.rdb", "streams.rdb", "zsets.rdb", "lists_compress.rdb", "functions.rdb"])
def test_a_file_cut_anywhere_is_refused_and_gives_the_keys_before(name: str) -> None:
    data = (RDB / "generated" / name).read_bytes()
    whole = [(e.key, e.end) for e in read(data)[0]]
    for cut in range(0, len(data), max(1, len(data) // 150)):
        found: list[bytes] = []
        with pytest.raises(RdbError) as caught:
            # What was given before the error stays.
            found.extend(entry.key for entry in RdbReader(io.BytesIO(data[:cut]), name="f.rdb"))
        assert found == [key for key, end in whole if end <= cut]
        assert caught.value.offset is not None
        assert caught.value.offset <= cut
        assert str(caught.value).startswith("f.rdb, byte ")


def test_any_changed_byte_is_noticed_by_the_checksum_at_the_latest() -> None:
    data = (RDB / "generated" / "nocompress.rdb").read_bytes()
    for at in range(0, len(data) - 8, 13):
        changed = data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]
        with pytest.raises(RdbError):
            read(changed)


@pytest.mark.parametrize("name", FILES)
def test_whatever_happens_to_its_bytes_a_file_is_read_or_refused(name: str) -> None:
    """Without the checksum, so that every decoder meets damage."""
    data = (RDB / "generated" / name).read_bytes()[:20_000]
    rng = random.Random(name)
    for _ in range(60):
        damaged = bytearray(data)
        for _change in range(rng.randint(1, 4)):
            at = rng.randrange(9, len(data))
            damaged[at : at + rng.randint(0, 3)] = rng.randbytes(rng.randint(0, 3))
        with suppress(RdbError):
            read(bytes(damaged), checksum="skip")


def test_a_wrong_checksum_can_be_reported_and_not_read_at_all() -> None:
    data = (RDB / "hostile" / "bad_crc.rdb").read_bytes()
    entries, reader = read(data, checksum="report")
    assert ([e.key for e in entries], reader.checksum) == ([b"before"], "wrong")
    entries, reader = read(data, checksum="skip")
    assert ([e.key for e in entries], reader.checksum) == ([b"before"], "unchecked")


# --- files of public projects ------------------------------------------------------------------------------------


def public(path: str) -> bytes:
    return (public_snapshots() / path).read_bytes()


def test_every_public_file_reads_but_those_that_are_wrong_on_purpose() -> None:
    refused = {}
    for path in sorted(public_snapshots().rglob("*.rdb")):
        try:
            read(path.read_bytes())
        except RdbError as problem:
            refused[path.name] = str(problem)
    assert set(refused) == {"future_v19.rdb", "invalid_chksum_v8.rdb", "redis_ent_opcode_ram_lru.rdb"}
    assert "version 99" in refused["future_v19.rdb"]
    assert "checksum" in refused["invalid_chksum_v8.rdb"]


def test_public_files_read_to_what_another_parser_found() -> None:
    compared = 0
    for path in sorted(public_snapshots().rglob("*.hdt.json")):
        expected = [e for e in json.loads(path.read_text()) if e["type"] not in ("aux", "functions", "dbsize")]
        entries, _ = read(path.with_name(path.name.replace(".hdt.json", ".rdb")).read_bytes())
        found = {(e.db, e.key.decode("utf-8", "replace")): e for e in entries}
        assert len(found) == len(expected), path
        for each in expected:
            compare_with_hdt(each, found[each["db"], each["key"]])
            compared += 1
    assert compared > 80


def compare_with_hdt(expected: dict[str, Any], entry: Entry) -> None:
    def text(data: bytes) -> str:
        return data.decode("utf-8", "replace")

    value: Any = entry.value
    kind = expected["type"]
    if kind == "string":
        assert text(value) == expected["value"]
    elif kind == "list":
        assert list(map(text, value)) == expected["values"]
    elif kind == "set":
        assert sorted(map(text, value)) == sorted(expected["members"])
    elif kind == "hash":
        assert {text(f): text(v) for f, v in value.items()} == expected["hash"]
        if "expire" in expected:
            deadlines = {text(f): ms for f, ms in (entry.field_expires or {}).items()}
            assert deadlines == {f: ms for f, ms in expected["expire"].items() if ms}
    elif kind == "zset":
        pairs = {text(member): score for member, score in value.scores.items()}
        assert pairs == {pair["member"]: float(pair["score"]) for pair in expected["entries"]}
    else:
        assert kind == "stream"
        ids = [m["id"] for node in expected.get("entries") or [] for m in node["msgs"] if not m["deleted"]]
        assert [format_id(entry_id).decode() for entry_id, _ in value.range()] == ids
        assert format_id(value.last_id).decode() == expected["lastId"]


def test_values_of_modules_are_skipped_and_told() -> None:
    entries, reader = read(public("rdbtools/redis_40_with_module.rdb"))
    assert [(s.key, s.reason) for s in reader.skipped] == [(b"foo", "a value of the module ReJSON-RL")]
    assert b"foo" not in {e.key for e in entries}


def test_a_snapshot_before_a_log_ends_where_the_log_begins() -> None:
    for data in (public("redis/rdb-preamble.aof"), (RDB / "generated" / "oldstyle_preamble.aof").read_bytes()):
        loaded = load_rdb(io.BytesIO(data), keyspace())
        assert data[loaded.end :].startswith(b"*")


def test_collections_without_elements_make_no_keys() -> None:
    _, reader = read(public("redis/corrupt_empty_keys.rdb"))
    assert reader.empty_keys > 5


# --- what only newer servers write, from its description alone -------------------------------------------------------


def string(text: bytes) -> bytes:
    return bytes([len(text)]) + text


def listpack(*items: bytes) -> bytes:
    return string(encode_listpack(items))


def test_fields_that_expire_are_told_beside_the_hash_and_do_expire() -> None:
    fields = b"\x02" + b"\x00" + string(b"a") + string(b"1") + b"\x05" + string(b"b") + string(b"2")
    earliest = (1000).to_bytes(8, "little")
    forms = {
        22: fields,
        24: earliest + fields,
        23: listpack(b"b", b"2", b"1004", b"a", b"1", b"0"),
        25: earliest + listpack(b"b", b"2", b"1004", b"a", b"1", b"0"),
    }
    for type_, body in forms.items():
        entries, _ = read(frame(bytes([type_]) + string(b"h") + body, 12))
        assert dict(entries[0].value.items()) == {b"a": b"1", b"b": b"2"}  # type: ignore[union-attr]
        assert entries[0].field_expires == {b"b": 5 if type_ == 22 else 1004}
        loaded = keyspace()
        load_rdb(io.BytesIO(frame(bytes([type_]) + string(b"h") + body, 12)), loaded)
        assert loaded[0].next_field_deadline_ms() == (5 if type_ == 22 else 1004)


def test_numbers_that_mean_two_things_are_told_apart_by_the_magic() -> None:
    never = (-1).to_bytes(8, "little", signed=True)
    body = b"\x16" + string(b"h") + b"\x02" + string(b"a") + string(b"1") + never
    body += string(b"b") + string(b"2") + (1004).to_bytes(8, "little")
    moving = b"\xf3" + string(b"job") + b"\x01\x05\x06"
    entries, reader = read(frame(moving + body, 80, b"VALKEY"))
    assert entries[0].field_expires == {b"b": 1004}
    assert (reader.magic, reader.version) == (b"VALKEY", 80)
    with pytest.raises(RdbError, match="type 23"):
        read(frame(b"\x17" + string(b"h"), 81, b"VALKEY"))
    with pytest.raises(RdbError, match="a command among the keys"):
        read(frame(b"\xf2*1\r\n", 81, b"VALKEY"))


def test_hashes_with_a_template_have_its_fields() -> None:
    template = b"\xf2\x07\x02" + string(b"a") + string(b"b")
    plain = b"\x20" + string(b"h1") + b"\x07" + string(b"1") + string(b"2")
    packed = b"\x1e" + string(b"h2") + listpack(b"7", b"3", b"4")
    entries, _ = read(frame(template + plain + packed, 15))
    values = [dict(entry.value.items()) for entry in entries]  # type: ignore[union-attr]
    assert values == [{b"a": b"1", b"b": b"2"}, {b"a": b"3", b"b": b"4"}]
    with pytest.raises(RdbError, match="no record defined"):
        read(frame(plain, 15))


def test_an_array_is_skipped_and_told() -> None:
    array = b"\x1c" + string(b"k") + b"\x02\x00" + b"\x00\x00" + string(b"v") + b"\x01\x01" + bytes(8)
    entries, reader = read(frame(array + b"\x00" + string(b"after") + string(b"1"), 14))
    assert [e.key for e in entries] == [b"after"]
    assert reader.skipped[0].key == b"k"


def test_what_modules_keep_beside_a_key_is_skipped() -> None:
    meta = b"\xf3\x01" + b"spec" + b"\x02\x05" + b"\x05" + string(b"text") + b"\x00"
    entries, reader = read(frame(meta + b"\x00" + string(b"k") + string(b"v"), 13))
    assert (entries[0].key, entries[0].value) == (b"k", b"v")
    assert len(reader.warnings) == 1


@pytest.mark.parametrize("type_", [6, 8, 29, 31, 33, 107, 121, 200, 241])
def test_an_unknown_type_ends_the_reading(type_: int) -> None:
    # What follows may be a key, or anything.
    for behind in (string(b"k"), b"\xff" * 9, b""):
        with pytest.raises(RdbError, match=f"type {type_}") as caught:
            read(frame(b"\x00\x01a\x01b" + bytes([type_]) + behind, 15))
        assert (caught.value.offset, caught.value.opcode) == (14, type_)


def test_a_compressed_snapshot_of_valkey_is_named() -> None:
    with pytest.raises(RdbError, match="compressed snapshot of Valkey"):
        read(b"VCS\x01\x01\x00\x01" + bytes(20))


@pytest.mark.parametrize("element", [b"\x0a\x01", b"\xcf\x00\x02", b"\x82ab\x03", b"\xf1\x00\x50\x03"])
def test_what_a_compressed_listpack_takes_is_bounded_by_the_file(element: bytes) -> None:
    """The worst there is: 88 bytes out of one, of which an element needs two, and then is an object."""
    elements = element * (200_000 // len(element))
    blob = (len(elements) + 7).to_bytes(4, "little") + b"\xff\xff" + elements + b"\xff"
    packed = compress(blob, len(blob))
    assert packed is not None
    data = frame(b"\x12\x01k\x01\x02\xc3" + length(len(packed)) + length(len(blob)) + packed)
    assert len(blob) > 60 * len(data)
    tracemalloc.start()
    (entry,), _ = read(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(entry.value) == len(elements) // len(element)
    assert peak < 2000 * len(data)


# --- is it one -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "answer"),
    [
        (b"REDIS0010", True),
        (b"VALKEY080", True),
        (b"VCS\x01\x01\x00\x01", True),
        (b"*2\r\n$6\r\n", False),
        (b"", False),
    ],
)
def test_a_file_tells_from_its_first_bytes_what_it_is(head: bytes, answer: bool) -> None:
    assert is_rdb(head) is answer


def test_loading_puts_keys_and_functions_in_place(tmp_path: Path) -> None:
    made = keyspace()
    with open(RDB / "generated" / "functions.rdb", "rb") as file:
        loaded = load_rdb(file, made)
    assert (loaded.keys, set(made.functions)) == (1, {"mylib", "lib2"})
    with open(RDB / "generated" / "expires_multidb.rdb", "rb") as file:
        loaded = load_rdb(file, made)
    assert loaded.keys == 13
    assert made[0].deadline_ms(b"e0") == 4102444800123
    assert {db.index for db in made if len(db)} == {0, 1, 2, 15}


def test_overdue_keys_are_left_out_only_if_asked() -> None:
    data = (RDB / "hostile" / "expire_past.rdb").read_bytes()
    assert load_rdb(io.BytesIO(data), keyspace()).keys == 2
    loaded = load_rdb(io.BytesIO(data), keyspace(), drop_overdue_at_ms=1_700_000_000_000)
    assert (loaded.keys, loaded.expired) == (1, 1)


def test_what_is_unsupported_can_be_left_out_with_a_report() -> None:
    data = (RDB / "hostile" / "module_unknown.rdb").read_bytes()
    loaded = load_rdb(io.BytesIO(data), keyspace(), unsupported="skip")
    assert [each.key is not None for each in loaded.skipped] == [True]


def test_progress_is_told_to_the_end() -> None:
    data = (RDB / "generated" / "lists.rdb").read_bytes()
    told: list[int] = []
    load_rdb(io.BytesIO(data), keyspace(), progress=told.append)
    assert told[-1] == len(data)
