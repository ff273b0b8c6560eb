"""What may follow each command, in the notation of Redis's own help; for help and completion.

``[...]`` may be left out, ``<a | b>`` is one of several, ``...`` is what stands before it once more, capitals are words
to type, the rest stands for values. A test compares every line with what COMMAND DOCS of redis-server 7.0.15 says of
the command's arguments, and that every command is here that takes any.

Redis: COMMAND DOCS (7.0.15).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

__all__ = ["GRAMMARS", "option_words", "signature"]


@dataclass(frozen=True, slots=True)
class _OptionWord:
    """A word to type. `choices` are the alternatives it is in, as (choice, branch); `repeats` if it may come again."""

    text: str
    choices: frozenset[tuple[int, int]]
    repeats: bool
    takes_value: bool


def signature(name: str) -> str:
    """`name` with its arguments.

    >>> signature("GETEX")
    'GETEX key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | PERSIST]'
    """
    return f"{name} {GRAMMARS.get(name, '')}".rstrip()


def option_words(name: str, given: Sequence[bytes]) -> list[str]:
    """Words that may follow the arguments `given`: none that is there already, or that excludes one that is.

    Where a value must come, there are none.

    >>> option_words("SET", [b"k", b"v", b"NX"])
    ['GET', 'EX', 'PX', 'EXAT', 'PXAT', 'KEEPTTL']
    >>> option_words("SET", [b"k"]), option_words("SET", [b"k", b"v", b"EX"])
    ([], [])
    """
    leading, words = _parsed(name)
    if len(given) < leading:
        return []
    before_value = {word.text for word in words if word.takes_value}
    typed: set[str] = set()
    value_next = False
    for arg in given[leading:]:
        text = "" if value_next else arg.upper().decode("latin-1")
        typed.add(text)
        value_next = text in before_value
    if value_next:
        return []
    # A word that stands in several places, as KM does, tells nothing of the place.
    times = Counter(word.text for word in words)
    told = [word for word in words if word.text in typed and times[word.text] == 1]
    taken = {choice: branch for word in told for choice, branch in word.choices}
    fitting = [
        word.text
        for word in words
        if (word.text not in typed or word.repeats)
        and all(taken.get(choice, branch) == branch for choice, branch in word.choices)
    ]
    return list(dict.fromkeys(fitting))


_TOKEN = re.compile(r"[\[\]<>|]|[^\s\[\]<>|]+")
_CAPITALS = re.compile(r"[A-Z][A-Z0-9-]*")


@cache
def _parsed(name: str) -> tuple[int, list[_OptionWord]]:
    """How many values come first, and all words in order."""
    tokens = _TOKEN.findall(GRAMMARS.get(name, ""))
    leading = next((i for i, token in enumerate(tokens) if token in "[<" or _CAPITALS.fullmatch(token)), len(tokens))
    return leading, list(_words(tokens))


def _words(tokens: Sequence[str]) -> Iterator[_OptionWord]:
    # The open brackets: where each began, and which branch of it is being read.
    stack: list[tuple[int, int]] = []
    for place, token in enumerate(tokens):
        if token in "[<":
            stack.append((place, 0))
        elif token in "]>":
            stack.pop()
        elif token == "|":
            begin, branch = stack[-1]
            stack[-1] = (begin, branch + 1)
        elif _CAPITALS.fullmatch(token):
            after = tokens[place + 1] if place + 1 < len(tokens) else "]"
            takes_value = after not in ("[", "<", "]", ">", "|", "...") and not _CAPITALS.fullmatch(after)
            repeating = [begin for begin, _ in stack if tokens[_end(tokens, begin) - 1] == "..."]
            # What repeats may take another branch the next time.
            choices = [choice for choice in stack if not repeating or choice[0] < repeating[0]]
            yield _OptionWord(token, frozenset(choices), bool(repeating), takes_value)


def _end(tokens: Sequence[str], begin: int) -> int:
    """Where the bracket that opens at `begin` closes."""
    depth = 0
    for place in range(begin, len(tokens)):
        depth += (tokens[place] in "[<") - (tokens[place] in "]>")
        if depth == 0:
            return place
    raise ValueError(tokens)


_TABLE = """
APPEND: key value
BGSAVE: [SCHEDULE]
BITCOUNT: key [start end [BYTE | BIT]]
BITFIELD: key [<GET encoding offset | [OVERFLOW <WRAP | SAT | FAIL>] <SET encoding offset value | INCRBY encoding offset increment>> ...]
BITFIELD_RO: key [GET encoding offset ...]
BITOP: operation destkey key [key ...]
BITPOS: key bit [start [end [BYTE | BIT]]]
BLMOVE: source destination <LEFT | RIGHT> <LEFT | RIGHT> timeout
BLMPOP: timeout numkeys key [key ...] <LEFT | RIGHT> [COUNT count]
BLPOP: key [key ...] timeout
BRPOP: key [key ...] timeout
BRPOPLPUSH: source destination timeout
BZMPOP: timeout numkeys key [key ...] <MIN | MAX> [COUNT count]
BZPOPMAX: key [key ...] timeout
BZPOPMIN: key [key ...] timeout
CLIENT LIST: [TYPE <NORMAL | MASTER | REPLICA | PUBSUB>] [ID client-id [client-id ...]]
CLIENT SETNAME: connection-name
CLIENT UNBLOCK: client-id [TIMEOUT | ERROR]
COMMAND DOCS: [command-name ...]
COMMAND INFO: [command-name ...]
COMMAND LIST: [FILTERBY <MODULE module-name | ACLCAT category | PATTERN pattern>]
CONFIG GET: parameter [parameter ...]
CONFIG SET: parameter value [parameter value ...]
COPY: source destination [DB destination-db] [REPLACE]
DECR: key
DECRBY: key decrement
DEL: key [key ...]
DUMP: key
ECHO: message
EVAL: script numkeys [key ...] [arg ...]
EVALSHA: sha1 numkeys [key ...] [arg ...]
EVALSHA_RO: sha1 numkeys [key ...] [arg ...]
EVAL_RO: script numkeys [key ...] [arg ...]
EXISTS: key [key ...]
EXPIRE: key seconds [NX | XX | GT | LT]
EXPIREAT: key unix-time-seconds [NX | XX | GT | LT]
EXPIRETIME: key
FCALL: function numkeys [key ...] [arg ...]
FCALL_RO: function numkeys [key ...] [arg ...]
FLUSHALL: [ASYNC | SYNC]
FLUSHDB: [ASYNC | SYNC]
FUNCTION DELETE: library-name
FUNCTION FLUSH: [ASYNC | SYNC]
FUNCTION LIST: [LIBRARYNAME library-name-pattern] [WITHCODE]
FUNCTION LOAD: [REPLACE] function-code
FUNCTION RESTORE: serialized-value [FLUSH | APPEND | REPLACE]
GEOADD: key [NX | XX] [CH] longitude latitude member [longitude latitude member ...]
GEODIST: key member1 member2 [M | KM | FT | MI]
GEOHASH: key member [member ...]
GEOPOS: key member [member ...]
GEORADIUS: key longitude latitude radius <M | KM | FT | MI> [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY]] [ASC | DESC] [STORE key] [STOREDIST key]
GEORADIUSBYMEMBER: key member radius <M | KM | FT | MI> [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY]] [ASC | DESC] [STORE key] [STOREDIST key]
GEORADIUSBYMEMBER_RO: key member radius <M | KM | FT | MI> [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY]] [ASC | DESC]
GEORADIUS_RO: key longitude latitude radius <M | KM | FT | MI> [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY]] [ASC | DESC]
GEOSEARCH: key <FROMMEMBER member | FROMLONLAT longitude latitude> <BYRADIUS radius <M | KM | FT | MI> | BYBOX width height <M | KM | FT | MI>> [ASC | DESC] [COUNT count [ANY]] [WITHCOORD] [WITHDIST] [WITHHASH]
GEOSEARCHSTORE: destination source <FROMMEMBER member | FROMLONLAT longitude latitude> <BYRADIUS radius <M | KM | FT | MI> | BYBOX width height <M | KM | FT | MI>> [ASC | DESC] [COUNT count [ANY]] [STOREDIST]
GET: key
GETBIT: key offset
GETDEL: key
GETEX: key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | PERSIST]
GETRANGE: key start end
GETSET: key value
HDEL: key field [field ...]
HELLO: [protover [AUTH username password] [SETNAME clientname]]
HEXISTS: key field
HGET: key field
HGETALL: key
HINCRBY: key field increment
HINCRBYFLOAT: key field increment
HKEYS: key
HLEN: key
HMGET: key field [field ...]
HMSET: key field value [field value ...]
HRANDFIELD: key [count [WITHVALUES]]
HSCAN: key cursor [MATCH pattern] [COUNT count]
HSET: key field value [field value ...]
HSETNX: key field value
HSTRLEN: key field
HVALS: key
INCR: key
INCRBY: key increment
INCRBYFLOAT: key increment
INFO: [section ...]
KEYS: pattern
LATENCY GRAPH: event
LATENCY HISTOGRAM: [command ...]
LATENCY HISTORY: event
LATENCY RESET: [event ...]
LCS: key1 key2 [LEN] [IDX] [MINMATCHLEN len] [WITHMATCHLEN]
LINDEX: key index
LINSERT: key <BEFORE | AFTER> pivot element
LLEN: key
LMOVE: source destination <LEFT | RIGHT> <LEFT | RIGHT>
LMPOP: numkeys key [key ...] <LEFT | RIGHT> [COUNT count]
LPOP: key [count]
LPOS: key element [RANK rank] [COUNT num-matches] [MAXLEN len]
LPUSH: key element [element ...]
LPUSHX: key element [element ...]
LRANGE: key start stop
LREM: key count element
LSET: key index element
LTRIM: key start stop
MGET: key [key ...]
MOVE: key db
MSET: key value [key value ...]
MSETNX: key value [key value ...]
OBJECT ENCODING: key
OBJECT FREQ: key
OBJECT IDLETIME: key
OBJECT REFCOUNT: key
PERSIST: key
PEXPIRE: key milliseconds [NX | XX | GT | LT]
PEXPIREAT: key unix-time-milliseconds [NX | XX | GT | LT]
PEXPIRETIME: key
PFADD: key [element ...]
PFCOUNT: key [key ...]
PFDEBUG: subcommand key
PFMERGE: destkey sourcekey [sourcekey ...]
PING: [message]
PSETEX: key milliseconds value
PSUBSCRIBE: pattern [pattern ...]
PSYNC: replicationid offset
PTTL: key
PUBLISH: channel message
PUBSUB CHANNELS: [pattern]
PUBSUB NUMSUB: [channel ...]
PUBSUB SHARDCHANNELS: [pattern]
PUBSUB SHARDNUMSUB: [shardchannel ...]
PUNSUBSCRIBE: [pattern ...]
RENAME: key newkey
RENAMENX: key newkey
REPLICAOF: <host port | NO ONE>
RESTORE: key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]
RESTORE-ASKING: key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]
RPOP: key [count]
RPOPLPUSH: source destination
RPUSH: key element [element ...]
RPUSHX: key element [element ...]
SADD: key member [member ...]
SCAN: cursor [MATCH pattern] [COUNT count] [TYPE type]
SCARD: key
SCRIPT DEBUG: <YES | SYNC | NO>
SCRIPT EXISTS: sha1 [sha1 ...]
SCRIPT FLUSH: [ASYNC | SYNC]
SCRIPT LOAD: script
SDIFF: key [key ...]
SDIFFSTORE: destination key [key ...]
SELECT: index
SET: key value [NX | XX] [GET] [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | KEEPTTL]
SETBIT: key offset value
SETEX: key seconds value
SETNX: key value
SETRANGE: key offset value
SHUTDOWN: [NOSAVE | SAVE] [NOW] [FORCE] [ABORT]
SINTER: key [key ...]
SINTERCARD: numkeys key [key ...] [LIMIT limit]
SINTERSTORE: destination key [key ...]
SISMEMBER: key member
SLAVEOF: <host port | NO ONE>
SLOWLOG GET: [count]
SMEMBERS: key
SMISMEMBER: key member [member ...]
SMOVE: source destination member
SORT: key [BY pattern] [LIMIT offset count] [GET pattern ...] [ASC | DESC] [ALPHA] [STORE destination]
SORT_RO: key [BY pattern] [LIMIT offset count] [GET pattern ...] [ASC | DESC] [ALPHA]
SPOP: key [count]
SPUBLISH: shardchannel message
SRANDMEMBER: key [count]
SREM: key member [member ...]
SSCAN: key cursor [MATCH pattern] [COUNT count]
SSUBSCRIBE: shardchannel [shardchannel ...]
STRLEN: key
SUBSCRIBE: channel [channel ...]
SUBSTR: key start end
SUNION: key [key ...]
SUNIONSTORE: destination key [key ...]
SUNSUBSCRIBE: [shardchannel ...]
SWAPDB: index1 index2
TOUCH: key [key ...]
TTL: key
TYPE: key
UNLINK: key [key ...]
UNSUBSCRIBE: [channel ...]
WAIT: numreplicas timeout
WATCH: key [key ...]
XACK: key group id [id ...]
XADD: key [NOMKSTREAM] [<MAXLEN | MINID> [= | ~] threshold [LIMIT count]] <* | id> field value [field value ...]
XAUTOCLAIM: key group consumer min-idle-time start [COUNT count] [JUSTID]
XCLAIM: key group consumer min-idle-time id [id ...] [IDLE ms] [TIME unix-time-milliseconds] [RETRYCOUNT count] [FORCE] [JUSTID] [LASTID id]
XDEL: key id [id ...]
XGROUP CREATE: key groupname <id | $> [MKSTREAM] [ENTRIESREAD entries-read]
XGROUP CREATECONSUMER: key groupname consumername
XGROUP DELCONSUMER: key groupname consumername
XGROUP DESTROY: key groupname
XGROUP SETID: key groupname <id | $> [ENTRIESREAD entries-read]
XINFO CONSUMERS: key groupname
XINFO GROUPS: key
XINFO STREAM: key [FULL [COUNT count]]
XLEN: key
XPENDING: key group [[IDLE min-idle-time] start end count [consumer]]
XRANGE: key start end [COUNT count]
XREAD: [COUNT count] [BLOCK milliseconds] STREAMS key [key ...] id [id ...]
XREADGROUP: GROUP group consumer [COUNT count] [BLOCK milliseconds] [NOACK] STREAMS key [key ...] id [id ...]
XREVRANGE: key end start [COUNT count]
XSETID: key last-id [ENTRIESADDED entries-added] [MAXDELETEDID max-deleted-entry-id]
XTRIM: key <MAXLEN | MINID> [= | ~] threshold [LIMIT count]
ZADD: key [NX | XX] [GT | LT] [CH] [INCR] score member [score member ...]
ZCARD: key
ZCOUNT: key min max
ZDIFF: numkeys key [key ...] [WITHSCORES]
ZDIFFSTORE: destination numkeys key [key ...]
ZINCRBY: key increment member
ZINTER: numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>] [WITHSCORES]
ZINTERCARD: numkeys key [key ...] [LIMIT limit]
ZINTERSTORE: destination numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>]
ZLEXCOUNT: key min max
ZMPOP: numkeys key [key ...] <MIN | MAX> [COUNT count]
ZMSCORE: key member [member ...]
ZPOPMAX: key [count]
ZPOPMIN: key [count]
ZRANDMEMBER: key [count [WITHSCORES]]
ZRANGE: key start stop [BYSCORE | BYLEX] [REV] [LIMIT offset count] [WITHSCORES]
ZRANGEBYLEX: key min max [LIMIT offset count]
ZRANGEBYSCORE: key min max [WITHSCORES] [LIMIT offset count]
ZRANGESTORE: dst src min max [BYSCORE | BYLEX] [REV] [LIMIT offset count]
ZRANK: key member
ZREM: key member [member ...]
ZREMRANGEBYLEX: key min max
ZREMRANGEBYRANK: key start stop
ZREMRANGEBYSCORE: key min max
ZREVRANGE: key start stop [WITHSCORES]
ZREVRANGEBYLEX: key max min [LIMIT offset count]
ZREVRANGEBYSCORE: key max min [WITHSCORES] [LIMIT offset count]
ZREVRANK: key member
ZSCAN: key cursor [MATCH pattern] [COUNT count]
ZSCORE: key member
ZUNION: numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>] [WITHSCORES]
ZUNIONSTORE: destination numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>]
ACL CAT: [categoryname]
ACL DELUSER: username [username ...]
ACL DRYRUN: username command [arg ...]
ACL GENPASS: [bits]
ACL GETUSER: username
ACL LOG: [count | RESET]
ACL SETUSER: username [rule ...]
AUTH: [username] password
CLIENT CACHING: <YES | NO>
CLIENT KILL: <ip:port | <[ID client-id] | [TYPE <NORMAL | MASTER | SLAVE | REPLICA | PUBSUB>] | [USER username] | [ADDR ip:port] | [LADDR ip:port] | [SKIPME yes/no]> [<[ID client-id] | [TYPE <NORMAL | MASTER | SLAVE | REPLICA | PUBSUB>] | [USER username] | [ADDR ip:port] | [LADDR ip:port] | [SKIPME yes/no]> ...]>
CLIENT NO-EVICT: <ON | OFF>
CLIENT PAUSE: timeout [WRITE | ALL]
CLIENT REPLY: <ON | OFF | SKIP>
CLIENT TRACKING: <ON | OFF> [REDIRECT client-id] [PREFIX prefix ...] [BCAST] [OPTIN] [OPTOUT] [NOLOOP]
CLUSTER ADDSLOTS: slot [slot ...]
CLUSTER ADDSLOTSRANGE: start-slot end-slot [start-slot end-slot ...]
CLUSTER COUNT-FAILURE-REPORTS: node-id
CLUSTER COUNTKEYSINSLOT: slot
CLUSTER DELSLOTS: slot [slot ...]
CLUSTER DELSLOTSRANGE: start-slot end-slot [start-slot end-slot ...]
CLUSTER FAILOVER: [FORCE | TAKEOVER]
CLUSTER FORGET: node-id
CLUSTER GETKEYSINSLOT: slot count
CLUSTER KEYSLOT: key
CLUSTER MEET: ip port [cluster-bus-port]
CLUSTER REPLICAS: node-id
CLUSTER REPLICATE: node-id
CLUSTER RESET: [HARD | SOFT]
CLUSTER SET-CONFIG-EPOCH: config-epoch
CLUSTER SETSLOT: slot <IMPORTING node-id | MIGRATING node-id | NODE node-id | STABLE>
CLUSTER SLAVES: node-id
FAILOVER: [TO host port [FORCE]] [ABORT] [TIMEOUT milliseconds]
LOLWUT: [VERSION version]
MEMORY USAGE: key [SAMPLES count]
MODULE LOAD: path [arg ...]
MODULE LOADEX: path [CONFIG name value ...] [ARGS arg [arg ...]]
MODULE UNLOAD: name
HEXPIRE: key seconds [NX | XX | GT | LT] FIELDS numfields field [field ...]
HPEXPIRE: key milliseconds [NX | XX | GT | LT] FIELDS numfields field [field ...]
HEXPIREAT: key unix-time-seconds [NX | XX | GT | LT] FIELDS numfields field [field ...]
HPEXPIREAT: key unix-time-milliseconds [NX | XX | GT | LT] FIELDS numfields field [field ...]
HPERSIST: key FIELDS numfields field [field ...]
HTTL: key FIELDS numfields field [field ...]
HPTTL: key FIELDS numfields field [field ...]
HEXPIRETIME: key FIELDS numfields field [field ...]
HPEXPIRETIME: key FIELDS numfields field [field ...]
CLIENT NO-TOUCH: <ON | OFF>
WAITAOF: numlocal numreplicas timeout
"""  # noqa: E501

GRAMMARS = dict(line.split(": ", 1) for line in _TABLE.strip().splitlines())
