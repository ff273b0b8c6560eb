"""Users and their rights: clients of ours and of a real server, all that each is sent, in order."""

from __future__ import annotations

import pytest
from support.dialogues import Ours, Theirs, play
from support.require import need
from support.server import available, redis_server

import aofnb

pytestmark = pytest.mark.server

HASH = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
BAD_RULES = [
    "%~y", "'a b'", "+nosuch", "-nosuch", "+@nosuch", "-@nosuch", "+select|0|1", "+config|nosuch", "+config|get|x",
    "+get|", "-get|x", "'<y'", "'!y'", "'#z'", f"!{HASH}", "'~* ~x'", "'(on)'", "'(+nosuch)'", "'(~a %X~b)'", "%RR~x",
    "'~a b'", "'&a b'", "%~", "%", "'~*' '~x'", "'&*' '&x'", "'(~x' +get", "'(~x' 'y)' z)", "+", "-", "@read", "+@",
    "'(' ')'", "allkeys ~x", "on off maybe",
]  # fmt: skip
RULES = [
    "", "on", "off nopass", "on '>foo' '>bar' '<foo'", f"'#{HASH}' '>foo'", f"'>foo' '!{HASH}'", "nopass '>foo'",
    "'>foo' nopass", "'>foo' resetpass", "'>foo' reset", "~a ~b ~a", "%R~a %W~a", "%RW~a %w~b %r~c", "~a allkeys",
    "allkeys resetkeys ~b", "'&a' '&b' '&a'", "allchannels", "'&a' resetchannels", "+get +SET", "+@read", "+@all -get",
    "+@all -@dangerous", "+@all -@admin +config|get", "+@string +@hash", "+@all -config", "+config -config|set",
    "+client|id +client|getname", "+select|0 +select|1", "+select|0 +select", "+select +select|0", "+@write -@list",
    "+@keyspace -keys", "+@fast", "+@slow", "+@all -@all", "allcommands nocommands +ping", "+@pubsub -publish",
    "'(~a +get)'", "'(~a' +get ')' '(%R~b' '&c' '+@read)'", "'(~a +get)' clearselectors", "'(~a)' +@all allkeys",
    "skip-sanitize-payload", "skip-sanitize-payload sanitize-payload", "%R", "'~'", "'&'", "+@connection",
    "+@blocking -blpop", "+@transaction +@scripting", "+@stream -xinfo|help", "'()'", "+@all -flushall -flushdb",
]  # fmt: skip
SCRIPTS = {
    "rules": "\n".join(
        line
        for number, rules in enumerate(RULES)
        for line in (f"a ACL SETUSER u{number} {rules}", f"a ACL GETUSER u{number}")
    )
    + "\na ACL LIST\na ACL USERS",
    "bad rules": "\n".join(f"a ACL SETUSER u {rules}" for rules in BAD_RULES) + "\na ACL GETUSER u",
    "commands": """
        a ACL WHOAMI
        a ACL WHOAMI x
        a ACL
        a ACL NOSUCH
        a ACL CAT
        a ACL CAT odd
        a ACL CAT a b
        a ACL CAT List
        a ACL CAT string
        a ACL CAT sortedset
        a ACL CAT pubsub
        a ACL CAT transaction
        a ACL CAT geo
        a ACL GENPASS x
        a ACL GENPASS 0
        a ACL GENPASS 4097
        a ACL GENPASS 1 2
        a ACL LOG x
        a ACL LOG 1 2
        a ACL LOG -1
        a ACL LOG 0
        a ACL LOG RESET
        a ACL DELUSER
        a ACL DELUSER default
        a ACL SETUSER x
        a ACL DELUSER x x y
        a ACL GETUSER x
        a ACL SETUSER "a b"
        a ACL SETUSER "a\\x00b"
        a ACL SETUSER
        a ACL LOAD
        a ACL SAVE
        a ACL HELP
        a HELLO 3
        a ACL SETUSER x on ~k +get (+set)
        a ACL GETUSER x
        a ACL DRYRUN y get a
        a ACL DRYRUN x nosuch
        a ACL DRYRUN x get
        a ACL DRYRUN x config nosuch
        a ACL DRYRUN x get k
        a ACL DRYRUN x get j
        a ACL DRYRUN x del k
        a ACL DRYRUN x set k 1
        a ACL DRYRUN default get k
        a ACL DELUSER x
    """,
    "log in": """
        a AUTH x
        a AUTH x y
        a AUTH a b c
        a AUTH
        a AUTH default anything
        a ACL SETUSER bob on '>pw' +@all ~*
        a AUTH bob wrong
        a ACL WHOAMI
        a AUTH bob pw
        a ACL WHOAMI
        a CLIENT INFO
        a RESET
        a ACL WHOAMI
        a HELLO 3 AUTH bob
        a HELLO 3 AUTH bob wrong
        a HELLO 2 AUTH bob pw SETNAME me
        a ACL WHOAMI
        a ACL SETUSER bob off
        a GET k
        b AUTH bob pw
        b ACL LOG 3
        b ACL LOG RESET
        b ACL SETUSER bob on
        b CLIENT KILL USER bob
        a.
        c AUTH bob pw
        b ACL DELUSER bob
        c.
        b CONFIG SET requirepass secret
        b GET k
        d GET k
        d NOSUCH
        d GET
        d PING
        d MULTI
        d EXEC
        d HELLO 3
        d HELLO 3 AUTH default wrong
        d AUTH wrong
        d AUTH secret
        d GET k
        d RESET
        d GET k
        e HELLO 3 AUTH default secret
        e ACL GETUSER default
        e CONFIG GET requirepass
        e CONFIG SET requirepass ""
        d GET k
        e ACL GETUSER default
        e ACL SETUSER default off
        f GET k
        f AUTH default x
        e ACL SETUSER default on
        f GET k
    """,
    "denied": """
        a ACL LOG RESET
        a ACL SETUSER t reset on '>p' %R~r* ~k* '&c*' +@all -debug -flushall -config|set '(~z* +get)' '(%W~w* +@write)'
        a SET r1 1
        b AUTH t p
        b GET x
        b GET r1
        b GET z1
        b SET z1 1
        b SET r1 1
        b SET w1 1
        b SET w1 1 GET
        b GETSET w1 2
        b APPEND w1 2
        b INCR w1
        b COPY r1 k1
        b COPY k1 r1
        b MGET k1 r1 x
        b MGET y r1 x
        b EXISTS x
        b STRLEN w1
        b TYPE r1
        b FLUSHALL
        b CONFIG SET hz 10
        b CONFIG GET hz
        b PUBLISH d x
        b PUBLISH c x
        b! PSUBSCRIBE c*
        b.
        b PUNSUBSCRIBE c*
        b PSUBSCRIBE c?
        b SUBSCRIBE c d
        b SSUBSCRIBE d
        b SPUBLISH d x
        b SUNSUBSCRIBE d
        b BITFIELD r1 GET u8 0
        b BITFIELD r1 SET u8 0 1
        b BITOP AND k1 r1 r2
        b BITOP AND r1 k1
        b ZUNIONSTORE k9 2 r1 k1
        b ZUNIONSTORE k9 1 w1
        b SORT r9
        b SORT r9 STORE k9
        b SORT k9 STORE r9
        b SORT k9 BY w*
        b SORT k9 BY nosort
        b SORT k9 GET #
        b SORT_RO r9 GET r*
        b LMOVE k9 w9 LEFT LEFT
        b LMOVE w9 k9 LEFT LEFT
        b XREAD STREAMS r9 x9 0 0
        b EVAL "return redis.call('GET','x')" 0
        b EVAL "return redis.call('FLUSHALL')" 0
        b EVAL "return redis.call('PUBLISH','x', 'y')" 0
        b EVAL "return redis.pcall('GET','x')" 0
        b EVAL "return redis.call('GET','r1')" 0
        b EVAL "return {redis.acl_check_cmd('GET','k'), redis.acl_check_cmd('config','set')}" 0
        b EVAL "return redis.acl_check_cmd('get')" 0
        b EVAL "return redis.acl_check_cmd('nosuch')" 0
        b EVAL "return 1" 1 x
        b NOSUCH
        b GET
        b MULTI
        b GET x
        b EXEC
        b MULTI
        b GET k1
        b GET r1
        b PUBLISH c x
        b FLUSHDB
        a ACL SETUSER t resetkeys ~r* resetchannels -flushdb clearselectors
        b EXEC
        b RESET
        b ACL LOG 100
        a ACL SETUSER first on nopass ~* -@all +select|0 +ping
        b AUTH first x
        b SELECT 0
        b SELECT 1
        b ACL WHOAMI
        b AUTH first x
        b MULTI
        b QUIT
    """,
    "listening": """
        a ACL SETUSER s on nopass +@all ~* '&ok*' '&p*'
        b AUTH s x
        b HELLO 3
        b! SUBSCRIBE ok1
        b.
        c AUTH s x
        c HELLO 3
        c! PSUBSCRIBE p*
        c.
        d AUTH s x
        d HELLO 3
        d! SSUBSCRIBE ok2
        d.
        a ACL SETUSER s '&more'
        a PUBLISH ok1 x
        a ACL SETUSER s resetchannels '&ok1' '&ok2'
        c.
        a ACL SETUSER s resetchannels '&ok1'
        d.
        b.
        a PUBLISH ok1 y
        b.
    """,
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    need("redis-server", available())
    with redis_server(tmp_path_factory.mktemp("server"), appendfsync="no") as running:
        yield running


@pytest.mark.parametrize("name", SCRIPTS)
def test_everyone_is_sent_what_the_server_sends(name, server):
    server.execute("FLUSHALL")
    users = [user for user in server.execute("ACL", "USERS") if user != b"default"]
    server.execute("ACL", "DELUSER", "nobody", *users)
    theirs = play(SCRIPTS[name], lambda who: Theirs(server, who))
    with aofnb.open(None, background=False) as store:
        ours = play(SCRIPTS[name], lambda who: Ours(store, who))
    assert ours == theirs
