import json

import pytest
from support.samples import sample

import aofnb
from aofnb.resp.encode import encode_command


def written(path, *argvs, tail=b""):
    pieces = [argv if isinstance(argv, bytes) else encode_command([word.encode() for word in argv]) for argv in argvs]
    path.write_bytes(b"".join(pieces) + tail)
    return aofnb.scan(path)


def test_what_is_in_it(tmp_path):
    log = written(
        tmp_path / "x.aof",
        b"#TS:1000\r\n",
        ["SET", "user:1", "a"],
        ["SELECT", "2"],
        ["MULTI"],
        ["SET", "user:2", "b"],
        ["EXEC"],
        b"#TS:1010\r\n",
        ["FLUSHALL"],
        ["DEL", *(f"k{n}" for n in range(150))],
        ["SET", "big", "x" * (1 << 20)],
    )
    found = log.triage()
    assert found.valid
    assert (found.commands, found.transactions, found.seconds) == (8, 1, 10)
    assert found.databases == {0: 1, 2: 7}
    assert found.by_command["SET"][0] == 3
    assert found.by_template["user:{n}"][0] == 2
    assert sum(nbytes for _, nbytes in found.by_command.values()) == found.nbytes - 2 * len("#TS:1000\r\n")
    assert found.suspect_counts == {"FLUSHALL": 1, "big delete": 1, "giant": 1}
    assert [(each["kind"], each["seq"]) for each in found.suspects] == [
        ("FLUSHALL", 5),
        ("big delete", 6),
        ("giant", 7),
    ]
    assert "log.at(5)   # the data just before the last FLUSHALL" in found.next_questions()
    assert "aofnb undo 'my data' 5   # what putting it back would change" in found.next_questions(shell="my data")
    assert "log.diff(6, 7)   # what DEL took" in found.next_questions()


def test_damage_comes_first(tmp_path):
    found = written(tmp_path / "x.aof", ["SET", "k", "v"], tail=b"*3\r\n$3\r\nSET\r\n$1").triage()
    assert not found.valid
    assert found.verdict.startswith("DAMAGED: 1 command in ")
    assert found.next_questions()[0].startswith("log.check()")
    assert found.statuses == {"ok": 1, "truncated": 1}


def test_an_empty_log_is_whole(tmp_path):
    found = written(tmp_path / "x.aof").triage()
    assert (found.verdict, found.next_questions()) == ("whole, and empty", [])


@pytest.mark.parametrize("name", ["01-rdb-base-incr", "03-timestamps", "09-rdb-base-lfu"])
def test_text_html_and_json_agree(name):
    found = aofnb.scan(sample(name) / "data").triage()
    said = json.loads(json.dumps(found.to_dict()))
    assert said["commands"] == len(aofnb.scan(sample(name) / "data"))
    assert found.verdict in repr(found)
    assert found.verdict in found._repr_html_()


def test_keys_are_escaped_in_html(tmp_path):
    found = written(tmp_path / "x.aof", ["SET", "<b>", "v"]).triage()
    assert "&lt;b&gt;" in found._repr_html_()
    assert "<b>'" not in found._repr_html_()
