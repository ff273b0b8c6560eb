"""The connection group: several clients of ours and of a real server, all that each is sent, in order."""

from __future__ import annotations

import pytest
from support.dialogues import Ours, Theirs, play
from support.require import need
from support.server import available, redis_server

import aofnb

pytestmark = pytest.mark.server

SCRIPTS = {
    "kill": """
        a CLIENT SETNAME a
        b CLIENT KILL ID {a}
        a.
        c CLIENT KILL {c.addr}
        c.
        b CLIENT KILL nobody:1
        b CLIENT KILL ID 0
        b CLIENT KILL ID x
        b CLIENT KILL ID
        b CLIENT KILL ID 99999999
        b CLIENT KILL ID {b}
        b CLIENT KILL ID {b} ADDR elsewhere:1 SKIPME no
        b CLIENT KILL TYPE odd
        b CLIENT KILL TYPE master
        b CLIENT KILL USER odd
        b CLIENT KILL SKIPME odd
        b CLIENT KILL SKIPME no ID
        b CLIENT KILL ODD 1
        b CLIENT KILL
        d SUBSCRIBE x
        b CLIENT KILL TYPE pubsub
        d.
        e? BLPOP q 0
        b CLIENT KILL ADDR {e.addr}
        e.
        b GET k
        b CLIENT KILL ID {b} SKIPME no
        b.
    """,
    "reply": """
        a CLIENT REPLY odd
        a CLIENT REPLY ON
        a! CLIENT REPLY SKIP
        a! SET k 1
        a GET k
        a! CLIENT REPLY SKIP
        a! NOSUCH
        a GET k
        a! CLIENT REPLY OFF
        a! INCR k
        a! CLIENT REPLY SKIP
        a! INCR k
        a! GET
        a CLIENT REPLY ON
        a GET k
        a! CLIENT REPLY SKIP
        a CLIENT REPLY ON
        a GET k
        a HELLO 3
        a! SUBSCRIBE c
        a.
        a! CLIENT REPLY OFF
        a! PUBLISH c one
        a CLIENT REPLY ON
        a.
        a! CLIENT REPLY SKIP
        a? BLPOP q 0
        b RPUSH q 1
        a GET k
        a CLIENT INFO
        a! CLIENT REPLY OFF
        a RESET
        a.
    """,
    "pause": """
        b CLIENT PAUSE x
        b CLIENT PAUSE -1
        b CLIENT PAUSE 10 odd
        b CLIENT PAUSE 10 WRITE more
        b CLIENT PAUSE
        b CLIENT UNPAUSE
        k MULTI
        k SET t 1
        k INCR t
        b CLIENT PAUSE 100000 WRITE
        k? EXEC
        b GET k
        a? SET k 1
        c? MSET k 2 j 1
        d? PUBLISH x 1
        e MULTI
        e? SET k 3
        f MULTI
        f GET k
        f EXEC
        g? PFCOUNT h
        h? BLPOP q 0
        i? EVAL "return 1" 0
        j NOSUCH
        j SET k
        b CLIENT LIST ID {a} {e}
        b CLIENT UNPAUSE
        k.
        a.
        c.
        d.
        e! EXEC
        e.
        g.
        i.
        b GET k
        b RPUSH q 1
        h.
        b CLIENT LIST ID {h}
        b CLIENT PAUSE 0
        a SET k 5
        b MULTI
        b CLIENT PAUSE 100000 WRITE
        b SET k 6
        b EXEC
        a? SET k 7
        b GET k
        b CLIENT UNPAUSE
        a.
        b GET k
    """,
    "flags": """
        a CLIENT NO-EVICT on
        a CLIENT NO-EVICT odd
        a CLIENT INFO
        a CLIENT NO-EVICT off
        a CLIENT TRACKING on BCAST REDIRECT {b}
        a CLIENT INFO
        a CLIENT LIST ID {a}
        a MULTI
        a GET x
        b CLIENT LIST ID {a} {b}
        a EXEC
        a RESET
        a CLIENT INFO
        a CLIENT HELP
    """,
    "tracking options": """
        a CLIENT GETREDIR
        a CLIENT TRACKINGINFO
        a CLIENT CACHING yes
        a CLIENT TRACKING odd
        a CLIENT TRACKING on odd
        a CLIENT TRACKING
        a CLIENT TRACKING on REDIRECT
        a CLIENT TRACKING on REDIRECT x
        a CLIENT TRACKING on REDIRECT 99999999
        a CLIENT TRACKING on REDIRECT {b} REDIRECT {b}
        a CLIENT TRACKING on OPTIN OPTOUT
        a CLIENT TRACKING on BCAST OPTIN
        a CLIENT TRACKING on BCAST OPTOUT
        a CLIENT TRACKING on PREFIX a
        a CLIENT TRACKING on BCAST PREFIX a PREFIX ab
        a CLIENT TRACKING on BCAST PREFIX a PREFIX b NOLOOP
        a CLIENT TRACKINGINFO
        a CLIENT TRACKING on BCAST PREFIX a
        a CLIENT TRACKING on BCAST PREFIX bcd
        a CLIENT TRACKING on BCAST PREFIX c PREFIX aa
        a CLIENT TRACKING on BCAST PREFIX c
        a CLIENT TRACKINGINFO
        a CLIENT TRACKING on OPTIN
        a CLIENT TRACKING off BCAST PREFIX
        a CLIENT TRACKING off
        a CLIENT TRACKING off
        a CLIENT TRACKINGINFO
        a CLIENT TRACKING on OPTIN
        a CLIENT TRACKING on OPTOUT
        a CLIENT TRACKING on BCAST
        a CLIENT CACHING no
        a CLIENT CACHING odd
        a CLIENT CACHING yes
        a CLIENT TRACKINGINFO
        a GET k
        a CLIENT TRACKINGINFO
        a CLIENT TRACKING off
        a CLIENT TRACKING on OPTOUT REDIRECT {b}
        a CLIENT CACHING yes
        a CLIENT CACHING no
        a CLIENT TRACKINGINFO
        a CLIENT GETREDIR
        a HELLO 3
        a CLIENT TRACKINGINFO
        a RESET
        a CLIENT TRACKINGINFO
        a CLIENT TRACKING on
        a CLIENT CACHING yes
        a CLIENT TRACKINGINFO
        a CLIENT TRACKING on REDIRECT 0
    """,
    "tracking": """
        a HELLO 3
        b SET k 1
        a CLIENT TRACKING on
        a GET k
        b SET k 2
        b SET k 3
        a.
        a GET k
        a INCR k
        a.
        a MGET k j l
        b MSET j 1 k 2 other 3
        a.
        a MULTI
        a GET k
        a SET k 3
        a GET k
        a EXEC
        a.
        b DEL k
        a.
        a EXISTS nothing
        b SET nothing 1
        a.
        a GET k
        b SELECT 5
        b SET k 1
        b SELECT 0
        a.
        a GET k
        b FLUSHALL
        a.
        a FLUSHDB
        a.
        b SELECT 3
        b FLUSHDB
        b SELECT 0
        a.
        b SET e 1 PX 1
        b SET v 1
        a GET v
        b DEBUG SLEEP 0.01
        a GET e
        a GET e
        b SET e 2
        a.
        a EVAL "return redis.call('GET', KEYS[1])" 1 s
        b SET s 1
        a.
        a EVAL_RO "return redis.call('GET', KEYS[1])" 1 s
        b SET s 2
        a.
        a EVAL "redis.call('GET', 't') return 1" 0
        b SET t 1
        a.
        a RENAME s u
        a.
        a GET u
        a RENAME u w
        a.
        a XREAD STREAMS x 0
        b XADD x 1-1 a b
        a.
        a? XREAD BLOCK 0 STREAMS x $
        b XADD x 2-1 a b
        a.
        b XADD x 3-1 a b
        a.
        a GET k
        b SWAPDB 0 1
        b SWAPDB 0 1
        a.
        a OBJECT ENCODING k
        b SET k v
        a.
        a SORT l
        a SORT_RO l
        b RPUSH l 1
        a.
        a! SUBSCRIBE c
        a.
        a GET k
        b MULTI
        b SET k 1
        b PUBLISH c m
        b EXEC
        a.
        a CLIENT TRACKING off
        a GET k
        b SET k 4
        a.
    """,
    "tracking what expires": """
        a HELLO 3
        b HELLO 3
        b DEBUG SET-ACTIVE-EXPIRE 0
        a CLIENT TRACKING on
        b CLIENT TRACKING on
        b MSET 1 x 2 x 3 x 4 x 5 x 6 x 7 x 8 x 9 x 10 x 11 x 12 x
        a MGET 1 2 3 4 5 6 7 8 9 10 11 12
        b PEXPIRE 1 40
        b PEXPIRE 2 40
        a.
        a MGET 1 2
        b DEBUG SLEEP 0.08
        a MGET 1 v 2
        a.
        b.
        b PEXPIRE 3 40
        a GET 3
        b GET 3
        b DEBUG SLEEP 0.08
        a MULTI
        a GET 3
        a GET v
        a EXEC
        a.
        b.
        b PEXPIRE 4 40
        a GET 4
        b DEBUG SLEEP 0.08
        b GET 4
        a.
        b PEXPIRE 5 40
        a GET 5
        b DEBUG SLEEP 0.08
        a EVAL "return redis.call('GET', KEYS[1])" 1 5
        a.
        b PEXPIRE 6 40
        a GET 6
        b DEBUG SLEEP 0.08
        a SET 6 y
        a.
        b PEXPIRE 7 40
        a GET 7
        b DEBUG SLEEP 0.08
        a DEL 7
        a.
        b PEXPIRE 8 40
        a GET 8
        b DEBUG SLEEP 0.08
        a SCAN 0 COUNT 100 MATCH 8
        a.
        b PEXPIRE 9 40
        a GET 9
        b DEBUG SLEEP 0.08
        a RENAME 10 9
        a.
        b.
        a LRANGE from 0 -1
        a LRANGE to 0 -1
        b LRANGE to 0 -1
        a? BLMOVE from to LEFT RIGHT 0
        b RPUSH from x
        a.
        b.
        b RPUSH to y
        b PEXPIRE to 40
        a LRANGE to 0 -1
        b LRANGE to 0 -1
        a? BLMOVE from to LEFT RIGHT 0
        b DEBUG SLEEP 0.08
        b RPUSH from x
        a.
        b.
        a LRANGE l 0 -1
        b LRANGE l 0 -1
        a? BLPOP l 0
        b RPUSH l z
        a.
        b.
        a CLIENT TRACKING on NOLOOP
        b PEXPIRE 11 40
        a.
        a GET 11
        b DEBUG SLEEP 0.08
        a GET 11
        a.
        a GET 12
        a MULTI
        a SET 12 own
        a FLUSHALL
        a EXEC
        a.
        b.
        a CLIENT TRACKING off
        a CLIENT TRACKING on BCAST NOLOOP
        a EVAL "return redis.call('SET', KEYS[1], 1)" 1 s
        a.
        a? BLMOVE from to LEFT RIGHT 0
        b RPUSH from x
        a.
        a SET v 1
        a.
        a CLIENT TRACKING off
        a CLIENT TRACKING on BCAST
        b SET k x
        b PEXPIRE k 40
        a.
        b DEBUG SLEEP 0.08
        a GET k
        a.
        b SET k x PX 40
        a.
        b DEBUG SLEEP 0.08
        a MULTI
        a GET k
        a SET k2 1
        a EXEC
        a.
        b DEBUG SET-ACTIVE-EXPIRE 1
    """,
    "watching what is overdue": """
        a DEBUG SET-ACTIVE-EXPIRE 0
        a SET k v PX 30
        a SET old v PX 30
        a SELECT 1
        a SET k2 v PX 30
        a SET old v PX 30
        a SET new v
        a SELECT 0
        a DEBUG SLEEP 0.05
        a WATCH k
        a FLUSHDB
        a MULTI
        a PING
        a EXEC
        a SET k v PX 30
        a DEBUG SLEEP 0.05
        a WATCH k
        a FLUSHALL
        a MULTI
        a PING
        a EXEC
        a SET k v PX 30
        a DEBUG SLEEP 0.05
        a WATCH k
        a SWAPDB 0 1
        a MULTI
        a PING
        a EXEC
        a FLUSHALL
        a SET k v PX 30
        a SELECT 1
        a SET k v PX 30
        a DEBUG SLEEP 0.05
        a SELECT 0
        a WATCH k
        a SWAPDB 0 1
        a MULTI
        a PING
        a EXEC
        a SELECT 1
        a DEL k
        a SET k v
        a SELECT 0
        a WATCH k
        a SWAPDB 0 1
        a MULTI
        a PING
        a EXEC
        a FLUSHALL
        a SELECT 1
        a SET k v PX 30
        a DEBUG SLEEP 0.05
        a SELECT 0
        a WATCH k
        a SWAPDB 0 1
        a MULTI
        a PING
        a EXEC
        a EXISTS k
        a FLUSHALL
        a SET k v PX 30
        a WATCH k
        a DEBUG SLEEP 0.05
        a FLUSHALL
        a MULTI
        a PING
        a EXEC
        a SET k v PX 30
        a DEBUG SLEEP 0.05
        a WATCH k
        a SWAPDB 0 1
        a SELECT 1
        a SET k 5
        a SELECT 0
        a MULTI
        a PING
        a EXEC
        a FLUSHALL
        a SET k v PX 30
        a DEBUG SLEEP 0.05
        a WATCH k
        a FLUSHALL
        a SET k 1
        a MULTI
        a PING
        a EXEC
        a DEBUG SET-ACTIVE-EXPIRE 1
    """,
    "choosing": """
        a HELLO 3
        a CLIENT TRACKING on OPTIN
        a GET k
        b SET k 1
        a.
        a CLIENT CACHING yes
        a GET k
        a GET j
        b MSET k 1 j 2
        a.
        a CLIENT CACHING yes
        a MULTI
        a GET k
        a GET j
        a EXEC
        b MSET k 1 j 2
        a.
        a CLIENT TRACKING off
        a CLIENT TRACKING on OPTOUT NOLOOP
        a GET k
        a GET j
        a CLIENT CACHING no
        a GET l
        b MSET k 1 j 2 l 3
        a.
        a GET k
        a SET k 5
        a.
        a GET k
        b SET k 6
        a.
    """,
    "broadcast": """
        a HELLO 3
        a CLIENT TRACKING on BCAST PREFIX user: PREFIX x
        b SET user:1 a
        a.
        b SET other 1
        a.
        b MSET user:3 1 user:2 1 x1 1
        a.
        a SET user:1 own
        a.
        b FLUSHALL
        a.
        b MULTI
        b SET user:9 1
        b SET user:8 1
        b SET user:9 1
        b EXEC
        a.
        c HELLO 3
        c CLIENT TRACKING on BCAST NOLOOP
        c SET user:7 1
        c.
        a.
        b SET z 1
        c.
        a.
        c SET z 1 PX 1
        b DEBUG SLEEP 0.01
        b GET z
        c.
        b DEL user:7 nothing
        a.
        c.
        b RENAME user:9 user:10
        a.
        b EXPIRE user:10 100
        a.
        b PERSIST user:10
        a.
        b CLIENT TRACKING on BCAST PREFIX user:
        c SET user:1 2
        b GET k
        b.
        a.
        a CLIENT TRACKING off
        b SET user:1 3
        a.
        c.
    """,
    "redirected": """
        a CLIENT TRACKING on REDIRECT {b}
        a GET k
        c SET k 1
        b.
        b SUBSCRIBE __redis__:invalidate
        a GET k
        c SET k 2
        b.
        a GET k
        a SET k 3
        b.
        c FLUSHALL
        b.
        a CLIENT TRACKING off
        a CLIENT TRACKING on BCAST REDIRECT {b} PREFIX k PREFIX j
        c MSET k1 1 k2 2 j 1
        b.
        b UNSUBSCRIBE
        c SET k1 2
        b.
        b PSUBSCRIBE anything
        c SET k1 2
        b.
        b RESET
        b HELLO 3
        c SET k1 3
        b.
        d HELLO 3
        d CLIENT TRACKING on REDIRECT {b}
        d GET k
        d GET l
        c CLIENT KILL ID {b}
        b.
        c SET k 1
        d.
        d CLIENT TRACKINGINFO
        d CLIENT INFO
        c SET l 1
        d.
        d CLIENT TRACKING on
        d CLIENT TRACKINGINFO
        a CLIENT TRACKINGINFO
        a CLIENT GETREDIR
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
    theirs = play(SCRIPTS[name], lambda who: Theirs(server, who))
    with aofnb.open(None, background=False) as store:
        ours = play(SCRIPTS[name], lambda who: Ours(store, who))
    assert ours == theirs
