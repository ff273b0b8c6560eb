"""Replies to bytes, in both versions of the protocol."""

import pytest

from aofnb.errors import ReplyError
from aofnb.resp.replies import NIL_ARRAY, NO_REPLY, Push, SetReply, Verbatim, encode_reply


@pytest.mark.parametrize(
    ("reply", "resp2", "resp3"),
    [
        (b"a\r\nb", b"$4\r\na\r\nb\r\n", b"$4\r\na\r\nb\r\n"),
        ("OK", b"+OK\r\n", b"+OK\r\n"),
        ("two\r\nlines", b"+two  lines\r\n", b"+two  lines\r\n"),
        (7, b":7\r\n", b":7\r\n"),
        (None, b"$-1\r\n", b"_\r\n"),
        (NIL_ARRAY, b"*-1\r\n", b"_\r\n"),
        (NO_REPLY, b"", b""),
        (True, b":1\r\n", b"#t\r\n"),
        (0.1, b"$19\r\n0.10000000000000001\r\n", b",0.10000000000000001\r\n"),
        (float("-inf"), b"$4\r\n-inf\r\n", b",-inf\r\n"),
        ({b"k": 1}, b"*2\r\n$1\r\nk\r\n:1\r\n", b"%1\r\n$1\r\nk\r\n:1\r\n"),
        (SetReply([b"a"]), b"*1\r\n$1\r\na\r\n", b"~1\r\n$1\r\na\r\n"),
        (Push([b"message"]), b"*1\r\n$7\r\nmessage\r\n", b">1\r\n$7\r\nmessage\r\n"),
        (Verbatim(b"text"), b"$4\r\ntext\r\n", b"=8\r\ntxt:text\r\n"),
        (ReplyError("ERR a\nb"), b"-ERR a b\r\n", b"-ERR a b\r\n"),
        (
            [[], (None, ReplyError("ERR x"))],
            b"*2\r\n*0\r\n*2\r\n$-1\r\n-ERR x\r\n",
            b"*2\r\n*0\r\n*2\r\n_\r\n-ERR x\r\n",
        ),
        (bytearray(b"b"), b"$1\r\nb\r\n", b"$1\r\nb\r\n"),
    ],
)
def test_each_kind_has_its_spelling(reply, resp2, resp3):
    assert encode_reply(reply) == resp2
    assert encode_reply(reply, 3) == resp3


def test_what_is_no_reply_is_refused():
    with pytest.raises(TypeError, match="object is no reply"):
        encode_reply([object()])
