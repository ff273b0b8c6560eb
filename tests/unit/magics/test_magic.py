"""``%redis``, ``%%redis`` and ``%aof`` in an IPython."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import aofnb
from aofnb.magics import AofnbMagics, magic
from aofnb.magics.parse import AOF_WORDS, ParseError
from aofnb.magics.replies import CellError, Replies


def incr_bytes() -> bytes:
    (path,) = Path("mydata/appendonlydir").glob("*.incr.aof")
    return path.read_bytes()


# --- one command -----------------------------------------------------------------------------------------------


def test_a_reply_is_shown_as_redis_cli_prints_it(nb):
    assert nb.shown("%redis SET greeting 'hello world'") == ["OK"]
    assert nb.shown("%redis GET greeting") == ['"hello world"']
    assert nb.shown("%redis INCR n") == ["(integer) 1"]


def test_an_assigned_reply_is_a_python_value_and_shows_nothing(nb):
    assert nb.shown("%redis SET k v\nx = %redis GET k") == []
    assert nb["x"] == b"v"


def test_nil_is_shown_only_where_a_cell_ends_in_it(nb):
    assert nb.shown("%redis GET nowhere") == ["(nil)"]
    assert nb.shown("x = %redis GET nowhere") == []
    assert nb.shown("%redis GET nowhere\nNone") == []
    assert nb.shown("x = %redis GET nowhere\n1") == ["1"]
    assert nb["x"] is None


def test_an_array_has_a_table_as_well(nb):
    nb.run("%redis RPUSH l a <b>")
    nb.run("%redis LRANGE l 0 -1")
    (data,) = nb.outputs
    assert data["text/plain"] == '1) "a"\n2) "<b>"'
    assert "<code>&lt;b&gt;</code></td>" in data["text/html"]


def test_an_error_reply_is_one_line_and_can_be_caught(nb):
    nb.run("%redis SET k text")
    assert nb.error("%redis INCR k") == ["(error) ERR value is not an integer or out of range"]
    nb.run("import aofnb\ntry:\n    %redis INCR k\nexcept aofnb.ReplyError as problem:\n    code = problem.code")
    assert nb["code"] == "ERR"


def test_names_of_the_calling_function_are_bound(nb):
    nb.run("def put(key):\n    value = [1, 2]\n    %redis RPUSH {{key}} {{*[v + 1 for v in value]}}\nput('l')")
    assert nb.run("%redis LRANGE l 0 -1") == [b"2", b"3"]


def test_ipython_expands_nothing_by_itself(nb):
    nb["x"] = 1
    nb.run("%redis SET {x}:$x $x")
    assert nb.run("%redis GET {x}:$x") == b"$x"


# --- a cell ----------------------------------------------------------------------------------------------------


def test_a_cell_is_a_list_of_replies(nb):
    replies = nb.run("%%redis\nSET a 1\n\n# a comment\nINCRBY a 4\nGET nowhere")
    assert isinstance(replies, Replies)
    assert replies == ["OK", 5, None]
    assert replies.lines == [2, 5, 6]
    assert nb.outputs[0]["text/plain"] == "OK\n(integer) 5\n(nil)"


def test_a_cell_is_written_in_one_write(nb, monkeypatch):
    store = aofnb_store(nb)
    file = store.engine.writer.file
    written: list[bytes] = []
    write = file.write

    class Counting:
        path = file.path

        def __getattr__(self, name: str) -> Any:
            return getattr(file, name)

        def write(self, data: Any) -> int:
            written.append(bytes(data))
            return write(data)

    monkeypatch.setattr(store.engine.writer, "file", Counting())
    nb.run("%%redis\n" + "\n".join(f"SET k{i} v" for i in range(100)))
    assert len(written) == 1
    assert written[0].count(b"SET") == 100


def test_an_error_stops_the_cell_naming_the_line(nb):
    assert nb.error("%%redis\nSET a x\nINCR a\nSET b y") == [
        "line 3, INCR a: (error) ERR value is not an integer or out of range"
    ]
    # What came before is done and shown; what comes after is not done.
    assert [data["text/plain"] for data in nb.outputs] == ["OK"]
    assert nb.run("%redis EXISTS a b") == 1


def test_an_error_carries_the_replies_before_it(nb):
    with pytest.raises(CellError) as caught:
        nb.run("%%redis\nSET a x\nINCR a")
    assert caught.value.replies == ["OK"]
    assert caught.value.line == 3
    assert caught.value.command == [b"INCR", b"a"]


def test_keep_going_shows_errors_and_goes_on(nb):
    assert nb.shown("%%redis -k\nSET a x\nINCR a\nSET b y") == [
        "OK\n(error) ERR value is not an integer or out of range\nOK"
    ]
    assert nb.shown("%redis -k INCR a") == ["(error) ERR value is not an integer or out of range"]


def test_a_quoting_error_runs_nothing(nb):
    lines = nb.error("%%redis\nSET a 1\nSET b 'x")
    assert lines == ["line 3: this quote is not closed", "SET b 'x", "      ^"]
    assert nb.run("%redis EXISTS a") == 0


def test_a_name_that_is_not_there_runs_nothing(nb):
    lines = nb.error("%%redis\nSET a 1\nSET b {{missing}}")
    assert lines[0] == "line 3: NameError: name 'missing' is not defined"
    assert nb.run("%redis EXISTS a") == 0


def test_the_option_line_may_hold_the_first_command(nb):
    assert nb.run("%%redis -k SET a 1\nGET a") == ["OK", b"1"]


def test_a_disk_that_takes_nothing_is_an_error_in_one_line(nb, monkeypatch):
    store = aofnb_store(nb)

    def full(_file: object, _data: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(type(store.engine.writer.file), "write", full)
        (line,) = nb.error("%redis SET k v")
    assert line.startswith("AofWriteError: ")
    assert os.strerror(errno.ENOSPC) in line
    store.tick()
    assert nb.run("%redis SET k w") == "OK"


# --- options ---------------------------------------------------------------------------------------------------


def test_out_and_quiet_show_nothing(nb):
    assert nb.shown("%redis -o x SET k v") == []
    assert nb["x"] == "OK"
    assert nb.shown("%%redis --quiet\nSET k w\nGET k") == []
    assert nb.run("%redis GET k") == b"w"


def test_bytes_gives_plain_values(nb):
    nb.run("%%redis -q\nRPUSH l a\nSET k v")
    assert type(nb.run("%redis --bytes GET k")) is bytes
    value = nb.run("%%redis --bytes\nLRANGE l 0 -1\nGET k")
    assert value == [[b"a"], b"v"]
    assert type(value) is list
    assert type(value[0]) is list


def test_df_gives_a_table(nb):
    nb.run("%%redis -q\nHSET h f 1 g 2")
    frame = nb.run("%redis --df HGETALL h")
    assert list(frame["field"]) == ["f", "g"]
    assert list(nb.run("%%redis --df\nGET nowhere\nHLEN h")["reply"]) == [None, 2]
    assert list(nb.run("%redis --df HLEN h")["reply"]) == [2]


def test_db_is_for_this_cell_only(nb):
    nb.run("%redis --db 3 SET k three")
    assert nb.run("%redis EXISTS k") == 0
    assert nb.run("%redis --db 3 GET k") == b"three"
    assert nb.error("%redis --db 99 GET k") == ["--db 99: ERR DB index is out of range"]


def test_select_stays_from_cell_to_cell(nb):
    nb.run("%redis SELECT 2")
    nb.run("%redis SET k two")
    assert nb.run("%redis --db 0 EXISTS k") == 0
    assert nb.run("%redis GET k") == b"two"


def test_multi_stays_from_cell_to_cell(nb):
    nb.run("%redis MULTI")
    assert nb.run("%redis INCR n") == "QUEUED"
    assert "MULTI is open" in nb.error("%redis --db 1 GET n")[0]
    assert nb.run("%redis EXEC") == [1]


def test_no_vars_takes_braces_literally(nb):
    nb.run("%redis --no-vars SET {{x}} {{y")
    assert nb.run("%redis --no-vars GET {{x}}") == b"{{y"


def test_log_shows_the_bytes_that_the_cell_appended(nb):
    first = nb.shown("%redis --log SET k v")
    assert first == [
        "appendonly.aof.1.incr.aof, 50 bytes from byte 0:\n"
        "*2\\r\\n$6\\r\\nSELECT\\r\\n$1\\r\\n0\\r\\n\n"
        "*3\\r\\n$3\\r\\nSET\\r\\n$1\\r\\nk\\r\\n$1\\r\\nv\\r\\n",
        "OK",
    ]
    assert nb.shown("%redis --log GET k")[0] == "nothing was appended to the log"
    assert len(incr_bytes()) == 50


def test_time_says_how_long_it_took(nb):
    assert nb.shown("%%redis --time\nSET a 1\nSET b 2")[0].endswith(" ms, 2 replies")
    assert nb.shown("%redis --time SET a 1")[0].endswith(" ms, 1 reply")


# --- stores ----------------------------------------------------------------------------------------------------


def aofnb_store(nb: Any) -> Any:
    nb.run("%redis --open mydata -o the_store")
    return nb.shell.user_ns.pop("the_store")


def test_without_a_store_the_error_says_what_to_do(notebook):
    assert notebook.error("%redis GET k") == ["no store is open; open one with: %redis --open mydata"]


def test_open_says_what_is_there(notebook):
    assert notebook.shown("%redis --open mydata --appendfsync always") == ["mydata: 0 keys, appendfsync always"]
    assert notebook.shown("%redis SET k v") == ["OK"]
    assert notebook.shown("%redis --close") == []
    assert notebook.shown("%redis --open mydata") == ["mydata: 1 key, appendfsync everysec"]
    assert notebook.run("%redis GET k") == b"v"


def test_opening_twice_uses_the_same_store_and_applies_settings(nb):
    nb.run("%redis SET k v")
    assert nb.shown("%redis --open mydata --appendfsync no") == ["mydata: 1 key, appendfsync no"]


def test_a_store_in_memory_promises_nothing(notebook):
    notebook["store"] = aofnb.open(None)
    with notebook["store"] as store:
        assert AofnbMagics(notebook.shell)._opened(store) == "in memory: 0 keys, no log: nothing is kept"


def test_close_says_what_is_dropped_and_what_is_used_from_now_on(notebook):
    notebook.run("%redis --open o1")
    notebook.run("%redis --open o2")
    notebook.run("%%redis -q\nMULTI\nSET k v\nSET l v")
    assert notebook.shown("%redis --close") == [
        "o2 is closed; MULTI was open: 2 queued commands were dropped; o1 is in use now"
    ]
    assert notebook.error("%redis --close o1") == [
        "--close takes nothing behind it; to close a store by its name: %redis --store o1 --close"
    ]
    assert notebook.shown("%redis --close") == []


def test_a_bad_setting_is_one_line(notebook):
    (line,) = notebook.error("%redis --open mydata --appendfsync sometimes")
    assert line.startswith("ConfigError: appendfsync: ")


def test_open_may_be_followed_by_a_command(notebook):
    assert notebook.shown("%redis --open mydata PING") == ["PONG"]


def test_store_names_a_variable_or_a_path(nb, tmp_path):
    nb.run("%redis SET where mydata")
    with aofnb.open(tmp_path / "other") as other:
        nb["other"] = other
        nb.run("%redis --store other SET where other")
        assert other.execute("GET", "where") == b"other"
        assert nb.run("%redis --store mydata GET where") == b"mydata"
        assert nb.run("%redis GET where") == b"mydata"
        nb["other"] = 5
        assert nb.error("%redis --store other PING")[0].startswith("other is a int, not a store")
    assert nb.error("%redis --store nowhere PING")[0].startswith("no store is called 'nowhere'")


def test_open_says_what_was_cut(nb):
    nb.run("%redis SET k v")
    nb.run("%redis --close")
    (path,) = Path("mydata/appendonlydir").glob("*.incr.aof")
    path.write_bytes(path.read_bytes() + b"*2\r\n$3\r\nDEL")
    (text,) = nb.shown("%redis --open mydata")
    first, second = text.split("\n")
    assert first == "mydata: 1 key, appendfsync everysec"
    assert second.startswith("appendonly.aof.1.incr.aof: 11 bytes were cut at byte 50: ")


def test_a_store_can_be_opened_read_only_beside_its_writer(nb):
    nb.run("%redis SET k v")
    assert nb.shown("%redis --open mydata --readonly --store copy") == ["copy: 1 key, read-only"]
    assert nb.run("%redis GET k") == b"v"
    assert nb.error("%redis SET k w")[0].startswith("(error) READONLY")
    assert nb.run("%redis --store mydata SET k w") == "OK"
    assert nb.error("%redis --log GET k")[0].startswith("--log: this store has no log")


def test_open_may_give_a_name(notebook):
    notebook.run("%redis --open a/data --store left")
    notebook.run("%redis --open b/data --store right")
    notebook.run("%redis --store left SET side left")
    assert notebook.run("%redis EXISTS side") == 0
    assert notebook.run("%redis --store left GET side") == b"left"


def test_the_only_store_of_the_namespace_is_used(notebook, tmp_path):
    with aofnb.open(tmp_path / "one") as store, aofnb.open(tmp_path / "two") as second:
        notebook["store"] = store
        notebook.run("%redis SET k v")
        assert store.execute("GET", "k") == b"v"
        notebook["second"] = second
        assert notebook.error("%redis GET k") == ["several stores are open; say which: --store second | store"]


def test_a_store_of_the_user_is_not_closed_at_unload(bare_notebook, tmp_path):
    with aofnb.open(tmp_path / "one") as store:
        bare_notebook["store"] = store
        bare_notebook.run("%load_ext aofnb")
        bare_notebook.run("%redis SET k v")
        bare_notebook.run("%unload_ext aofnb")
        assert not store.closed


def test_a_closed_store_is_an_error_that_says_so(nb):
    store = aofnb_store(nb)
    store.close()
    assert nb.error("%redis --store mydata PING")[0].startswith("store 'mydata' is closed")
    assert nb.error("%redis PING")[0].startswith("no store is open")


# --- refused ---------------------------------------------------------------------------------------------------


def test_a_command_that_could_wait_answers_where_there_is_data(nb):
    nb.run("%redis -q RPUSH li a")
    assert nb.run("%redis BLPOP li 0") == [b"li", b"a"]
    (line,) = nb.error("%redis BLPOP li 0")
    assert line.startswith("(error) ERR BLPOP would wait")


def test_a_command_with_a_timeout_waits_in_a_cell(nb):
    assert nb.run("x = %redis BLPOP li 0.01\nx is None") is True
    lines = nb.error("%%redis\nSET a 1\nBLPOP li 0.01\nBLPOP li 0")
    assert any("BLPOP would wait" in line for line in lines)


@pytest.mark.parametrize("line", ["SUBSCRIBE news", "psubscribe n*", "MONITOR", "SYNC"])
def test_listening_is_refused_with_the_way_to_do_it(nb, line):
    (said,) = nb.error(f"%redis {line}")
    assert said.startswith(f"(error) ERR {line.split()[0].upper()} listens without end")
    # The store is none the worse for it.
    assert nb.run("%redis PING") == "PONG"


def test_the_way_that_is_told_works(nb):
    nb.run("%redis --open mydata -o store")
    nb.run("pubsub = store.redis().pubsub(); pubsub.subscribe('news'); pubsub.get_message(timeout=1)")
    nb.run("%redis PUBLISH news hello")
    assert nb.run("pubsub.get_message(timeout=1)")["data"] == b"hello"
    nb.run("pubsub.close()")


def test_ctrl_c_ends_a_wait(nb):
    """The stop button sends the same signal."""
    nb.run(
        "from threading import Timer, main_thread\nimport signal\n"
        "timer = Timer(0.2, signal.pthread_kill, (main_thread().ident, signal.SIGINT)); timer.start()"
    )
    with pytest.raises(KeyboardInterrupt):
        nb.run("%redis BLPOP nothing 60")
    nb.run("timer.join()")
    assert nb.run("%redis PING") == "PONG"


def test_an_empty_list_is_no_command(nb):
    assert nb.error("%redis {{*[]}}")[0] == "line 1: there is no command: the list is empty"


@pytest.mark.parametrize("word", ["{{name}}", "{{*[name]}}", "{{**{name: 1}}}"])
def test_text_without_utf8_is_refused_in_one_line(nb, word):
    nb["name"] = "\udcff"
    assert nb.error(f"%redis MSET k {word}")[0] == (
        "line 1: text with lone surrogates has no UTF-8; give bytes, such as os.fsencode(name)"
    )


def test_a_transaction_of_a_failed_cell_is_discarded(nb):
    (line,) = nb.error("%%redis\nMULTI\nSET k v\nSET k")
    assert line.startswith("line 4, SET k: (error) ERR wrong number of arguments")
    assert line.endswith("; the transaction was discarded")
    assert nb.run("%redis EXISTS k") == 0


def test_a_transaction_of_an_earlier_cell_stays_open_at_an_error(nb):
    nb.run("%redis MULTI")
    assert nb.error("%redis SET k")[0].endswith("; MULTI is open: EXEC or DISCARD")
    assert nb.error("%%redis\nMULTI")[0].endswith("; MULTI is open: EXEC or DISCARD")
    assert nb.run("%redis DISCARD") == "OK"


def test_options_behind_the_command_are_explained(nb):
    assert nb.error("%redis GET a --df")[0].endswith("; options come before the command: %redis --df GET a")
    assert nb.error("%%redis\nGET a --db 3")[0].endswith("; options come before the commands: %%redis --db 3")
    nb.run("%redis SET a --df")
    assert nb.error("%redis INCR a")[0] == "(error) ERR value is not an integer or out of range"


def test_nothing_to_run_is_an_error_that_says_what_to_type(nb):
    assert nb.error("%redis")[0].startswith("a command is missing")
    assert nb.error("%redis -q")[0].startswith("a command is missing")
    assert nb.run("%%redis\n# only a comment") is None


def test_an_unknown_option_has_a_caret(nb):
    with pytest.raises(ParseError):
        nb.run("%redis --nope GET k")


# --- help ------------------------------------------------------------------------------------------------------


def test_a_question_mark_after_a_command_is_help(nb):
    (text,) = nb.shown("%redis GETDEL?")
    assert text.startswith("GETDEL key\n")
    assert "family  strings" in text
    assert "log     as typed; times, ids and random choices are written out\n" in nb.shown("%redis HELP SET")[0]
    assert nb.shown("%redis HELP getdel") == [text]
    # The grammar, and not what the handler calls its arguments.
    assert nb.shown("%redis XADD?")[0].startswith("XADD key [NOMKSTREAM] [<MAXLEN | MINID> [= | ~] threshold")
    assert "t_stream.c" not in nb.shown("%redis XADD?")[0]


def test_help_lists_the_families(nb):
    (text,) = nb.shown("%redis HELP")
    assert "GETDEL" in text
    assert nb.error("%redis HELP NOSUCH")[0].startswith("no help on NOSUCH")


def test_a_question_mark_in_a_pattern_is_a_pattern(nb):
    nb.run("%%redis -q\nMSET user1 a user2 b users c")
    assert sorted(nb.run("%redis KEYS user?")) == [b"user1", b"user2", b"users"]
    nb.run("x = %redis KEYS user?")
    assert len(nb["x"]) == 3


def test_only_lines_inside_a_long_string_are_left_alone(nb):
    nb.run("%%redis -q\nMSET user1 a users b")
    nb.run("x = %redis KEYS user?\ny = '''\n%redis KEYS user?\n'''\nz = %redis KEYS user?")
    assert len(nb["x"]) == len(nb["z"]) == 2
    assert nb["y"] == "\n%redis KEYS user?\n"
    nb.run('s = \'it # """\'  # """\nz = %redis KEYS users?')
    assert nb["z"] == []


class Kernel:
    def do_inspect(self, code: str, cursor_pos: int, detail_level: int = 0) -> dict[str, Any]:
        return {"found": False}


def test_shift_tab_in_redis_text_is_help_on_the_command(bare_notebook, monkeypatch):
    kernel = Kernel()
    monkeypatch.setattr(bare_notebook.shell, "kernel", kernel, raising=False)
    bare_notebook.run("%load_ext aofnb")
    for code, cursor in [("%redis GETDEL k", 9), ("%%redis\nSET a b\nGETDEL k", 24), ("%redis -k GETDEL k", 18)]:
        reply = kernel.do_inspect(code, cursor, detail_level=0)
        assert reply["data"]["text/plain"].startswith("GETDEL key\n")
    assert kernel.do_inspect("%redis config get x", 15)["data"]["text/plain"].startswith("CONFIG GET")
    assert kernel.do_inspect("len", 3) == {"found": False}
    assert kernel.do_inspect("%redis NOSUCH", 9) == {"found": False}
    bare_notebook.run("%unload_ext aofnb")
    assert kernel.do_inspect("%redis GETDEL k", 9) == {"found": False}


def test_the_magic_documents_its_options(nb):
    doc = nb.shell.find_line_magic("redis").__doc__
    assert "--keep-going" in doc
    assert "--open PATH" in doc
    assert "\n%redis [options] COMMAND" in doc


# --- %aof ------------------------------------------------------------------------------------------------------


def test_aof_status_names_policy_and_files(nb):
    nb.run("%redis SET k v")
    (text,) = nb.shown("%aof status")
    assert "appendfsync          everysec" in text
    assert "appendonly.aof.1.incr.aof, 50 bytes" in text
    assert nb.shown("%aof")[0].splitlines()[0] == text.splitlines()[0]


def test_aof_tail_shows_the_last_records(nb):
    nb.run("%%redis -q\n" + "\n".join(f"SET k{i} 'v {i}'" for i in range(20)))
    (text,) = nb.shown("%aof tail 2")
    head, first, second = text.split("\n")
    assert head == "appendonly.aof.1.incr.aof: 2 of 21 records"
    assert first.endswith('  SET k18 "v 18"')
    assert second.endswith('  SET k19 "v 19"')
    assert nb.error("%aof tail none") == ["%aof tail needs a number, not 'none'"]


def test_aof_config_shows_and_changes(nb):
    assert nb.run("%aof config appendfsync") == [b"appendfsync", b"everysec"]
    assert nb.run("%aof config appendfsync always") == "OK"
    assert nb.run("%aof config append_fsync*") == []
    assert nb.run("%aof config appendfs*") == [b"appendfsync", b"always"]
    assert nb.error("%aof config appendfsync perhaps")[0].startswith("(error) ERR CONFIG SET failed")


def test_aof_rewrite_starts_one(nb):
    nb.run("%redis SET k v")
    assert nb.shown("%aof rewrite") == ["Background append only file rewriting started"]


def test_a_command_that_is_not_there_but_for_a_letter_is_named(nb):
    (line,) = nb.error("%redis HGETAL user:1")
    assert "; did you mean HGETALL" in line
    assert line.startswith("(error) ERR unknown command 'HGETAL'")
    assert "did you mean" not in nb.error("%redis frobnicate x")[0]


def test_aof_crash_says_what_a_power_cut_would_take(nb):
    nb.run("%redis -q CONFIG SET appendfsync no")
    nb.run("%redis -q SET k v")
    after = nb.run("%aof crash")
    assert [b"SET", b"k", b"v"] in map(list, after.lost)
    assert nb.run("%aof crash kill").lost == ()
    assert nb.run("%redis GET k") == b"v"
    assert "knows power and kill, not fire" in nb.error("%aof crash fire")[0]


def test_aof_says_what_it_knows(nb):
    assert nb.error("%aof sing") == [
        "%aof sing is not there; it knows status, tail, check, at, history, triage, top, rewrite, crash, config"
    ]
    assert nb.error("%aof -q status")[0] == "line 1: no option -q; %aof? lists those there are"
    assert nb.error("%aof --path mydata status")[0].startswith("%aof status is about an open store")
    assert nb.error("%aof at")[0] == "%aof at needs an argument; see %aof?"
    assert nb.error("%aof status now")[0] == "%aof status takes at most 0 arguments; see %aof?"


def test_each_word_of_aof_does_something():
    assert tuple(magic._AOF) == AOF_WORDS


CART = "%%redis -q\nSET cart apples\nSET other x\nSET cart pears\nDEL cart"


def test_aof_at_answers_as_it_would_have_then(nb):
    nb.run(CART)
    assert nb.run("%aof at 1 GET cart") is None
    assert nb.run("%aof at 3 GET cart") == b"apples"
    assert nb.run("%aof at 4 GET cart") == b"pears"
    assert nb.run("%aof at end EXISTS cart") == 0
    assert nb.shown("%aof at 3")[0].startswith("before row 3 (appendonly.aof.1.incr.aof:")
    assert nb.error("%aof at yesterday")[0].startswith("%aof at: 'yesterday' names no position")
    assert nb.error("%aof at end SET cart x")[0].startswith("(error) READONLY")
    # Time stands still there, so nothing may wait for it to pass.
    assert "would wait" in nb.error("%aof at end XREAD BLOCK 5 STREAMS s $")[0]


def test_aof_top_names_the_keys_with_most_bytes(nb):
    nb.run(CART)
    frame = nb.run("%aof top 1")
    assert frame["key"].tolist() == ["cart"]
    assert frame["commands"].tolist() == [3]
    assert nb.error("%aof top all") == ["%aof top needs a number, not 'all'"]


def test_aof_history_tells_what_happened_to_a_key(nb):
    nb.run(CART)
    frame = nb.run("%aof history cart")
    assert frame["cmd"].tolist() == ["SET", "SET", "DEL"]
    assert len(nb.run("%aof history cart 1")) == 0
    assert nb.error("%aof history cart one")[0].startswith("%aof history needs the number of a database")


def test_aof_triage_is_the_first_look(nb):
    nb.run(CART)
    assert "appendonly.aof.manifest: 2 files" in nb.shown("%aof triage")[0]


def test_aof_check_says_what_is_whole(nb):
    nb.run("%redis SET k v")
    nb.run("checked = %aof check")
    assert nb["checked"].good
    assert nb.shown("%aof check")[0].splitlines()[-1] == "the log is valid"
    assert "<table" in nb.outputs[0]["text/html"]
    (part,) = Path("mydata/appendonlydir").glob("*.incr.aof")
    Path("cut.aof").write_bytes(part.read_bytes()[:-3])
    lines = nb.shown("%aof --path cut.aof check")[0].splitlines()
    assert lines[0].startswith("cut.aof  47 bytes, good up to byte 23")
    assert lines[1] == "the log is not valid"
    assert nb.error("%aof --path nowhere check")[0].startswith("AofError")
    assert nb.error("%aof --path nowhere top")


def test_questions_about_a_log_need_no_open_store(notebook):
    with aofnb.open("old") as store:
        store.execute("SET", "k", "v")
    assert notebook.run("%aof --path old at end GET k") == b"v"
    notebook["mem"] = aofnb.open(None)
    assert "in memory" in notebook.error("%aof --store mem check")[0]
    notebook["mem"].close()


# --- settings and life -----------------------------------------------------------------------------------------


def test_config_sets_limits_and_what_an_error_does(nb):
    nb.run("%config AofnbMagics.max_items = 2")
    nb.run("%redis RPUSH l a b c")
    assert nb.shown("%redis LRANGE l 0 -1") == ['1) "a"\n2) "b"\n... (2 of 3 items shown)']
    nb.run("%config AofnbMagics.max_items = 50")
    nb.run("%config AofnbMagics.on_error = 'continue'")
    assert nb.shown("%redis INCR l")[0].startswith("(error) WRONGTYPE")
    nb.run("%config AofnbMagics.expand = False")
    nb.run("%redis SET {{x}} 1")
    nb.run("%config AofnbMagics.html = False")
    nb.run("%redis LRANGE l 0 -1")
    assert "text/html" not in nb.outputs[0]
    nb.run("%config AofnbMagics.html = True")


def test_a_setting_that_cannot_be_is_named_at_load(bare_notebook):
    bare_notebook.shell.config.AofnbMagics.max_rows = -1
    with pytest.warns(UserWarning, match="max_rows"):
        bare_notebook.run("%load_ext aofnb")
    bare_notebook.run("%redis --open mydata")
    assert bare_notebook.shown("%redis PING") == ["PONG"]
    assert sum(isinstance(one, AofnbMagics) for one in bare_notebook.shell.configurables) == 1
    bare_notebook.run("%unload_ext aofnb")


def test_unloading_takes_everything_back(bare_notebook):
    shell = bare_notebook.shell
    transformers = list(shell.input_transformers_cleanup)
    matchers = list(shell.Completer.custom_matchers)
    bare_notebook.run("%load_ext aofnb")
    bare_notebook.run("%redis --open mydata -o store")
    store = bare_notebook["store"]
    bare_notebook.run("%unload_ext aofnb")
    assert store.closed
    assert shell.input_transformers_cleanup == transformers
    assert shell.Completer.custom_matchers == matchers
    assert not any(isinstance(configurable, AofnbMagics) for configurable in shell.configurables)
    assert shell.find_line_magic("redis") is None
    assert shell.find_cell_magic("redis") is None
    assert shell.find_line_magic("aof") is None


def test_loading_again_works(bare_notebook):
    for _ in range(2):
        bare_notebook.run("%load_ext aofnb")
        bare_notebook.run("%redis --open mydata")
        bare_notebook.run("%redis INCR n")
        bare_notebook.run("%unload_ext aofnb")
    bare_notebook.run("%load_ext aofnb")
    bare_notebook.run("%reload_ext aofnb")
    bare_notebook.run("%redis --open mydata")
    assert bare_notebook.run("%redis GET n") == b"2"
    bare_notebook.run("%unload_ext aofnb")


def test_it_loads_where_the_completer_has_no_matchers_yet(bare_notebook, monkeypatch):
    """IPython 7.34, which Colab runs, has neither `context_matcher` nor `SimpleCompletion`."""
    monkeypatch.delattr("IPython.core.completer.context_matcher", raising=False)
    bare_notebook.run("%load_ext aofnb")
    bare_notebook.run("%redis --open mydata")
    bare_notebook.run("%redis -q MSET user:1 a user:2 b")
    completer = bare_notebook.shell.Completer
    (matcher,) = completer.magic_arg_matchers[-1:]
    completer.text_until_cursor = "%redis LRAN"
    assert matcher("LRAN") == ["LRANGE"]
    # It replaces what IPython holds for the word, which ends at a colon.
    completer.text_until_cursor = "x = %redis GET user:"
    assert matcher("") == ["user:1", "user:2"] or matcher("") == ["1", "2"]
    completer.text_until_cursor = "%aof che"
    assert matcher("che") == ["check"]
    completer.text_until_cursor = "print"
    assert matcher("print") == []
    bare_notebook.run("%unload_ext aofnb")
    assert matcher not in completer.magic_arg_matchers


def test_the_extension_is_light():
    """Loading it imports nothing that takes long: pandas is for `.df()`, widgets for the dashboard."""
    program = (
        "import sys, aofnb.magics;"
        "heavy = ['pandas', 'pyarrow', 'ipywidgets', 'aofnb.forensics', 'aofnb.widgets'];"
        "print([module for module in heavy if module in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"
