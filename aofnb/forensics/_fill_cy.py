# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Kernel: the commands of a chunk into the columns of a frame, each command looked at once.

What `_walk_cy.skip` and then, column by column, `_columns_cy` find out, for commands in the form Redis writes and
columns that need no object; of the bytes only the key is copied. It stops where it has to ask: which command a name
stands for that it meets for the first time, and which arguments are keys where no rule says it. It runs without the
interpreter's lock.
"""

from __future__ import annotations

try:
    import cython
except ModuleNotFoundError:
    from aofnb import _cython as cython

if cython.compiled:
    from cython.cimports.libc.string import memcpy
else:
    from aofnb.forensics._framing import annotation_end, database_at, header_at, seconds_at, slot_of, word_at

COMPILED = cython.compiled

# Places in `state` of what the caller is asked.
ASKS, CODE, FIRST_KEY, KEYS = range(7, 11)


def fill(
    data: bytes,
    pos: cython.Py_ssize_t,
    base: cython.longlong,
    rows: cython.Py_ssize_t,
    room: cython.Py_ssize_t,
    state: cython.longlong[::1],
    lows: cython.ulonglong[::1],
    highs: cython.ulonglong[::1],
    numbers: cython.int[::1],
    commands: cython.longlong[:, ::1],
    offset: cython.longlong[::1],
    nbytes: cython.longlong[::1],
    ts: cython.longlong[::1],
    db: cython.short[::1],
    txn: cython.longlong[::1],
    cmd: cython.short[::1],
    nkeys: cython.short[::1],
    argc: cython.int[::1],
    status: cython.schar[::1],
    key_offsets: cython.longlong[::1],
    key_there: cython.uchar[::1],
    key_bytes: cython.uchar[::1],
) -> tuple[int, int]:
    """Follow the commands from data[pos] on, up to row `room`: where that stopped, and how many rows there are.

    `base` is the place of ``data[0]`` in the file. Columns of length 0 are left out; `ts` has what pandas has for no
    time, `txn` 0 outside transactions. Each key goes to the end of `key_bytes`, which has room for `data` and 16 bytes
    more; where it ends there into `key_offsets`, whether there is one into `key_there`. `rows` are there already.

    `lows`, `highs` and `numbers` are the table of names, as `_columns_cy.names` has it. `commands` says of each number:
    first and last key, step, 1 if the caller has to be asked, its status, and what stands for it in `cmd`. `state` is
    what was before and becomes what is behind: database, transactions so far, seconds of the last ``#TS`` or -1,
    highest database selected, 1 inside MULTI; place and row of the MULTI, if it is another one that is open; 1 if it
    stopped to ask. Then come the answers: the number of the first command, or -1; its first key or -1, and its keys.
    """
    p: cython.p_const_uchar = data
    size: cython.Py_ssize_t = len(data)
    slots: cython.longlong = len(numbers)
    with_offset: cython.bint = len(offset) > 0
    with_nbytes: cython.bint = len(nbytes) > 0
    with_ts: cython.bint = len(ts) > 0
    with_db: cython.bint = len(db) > 0
    with_txn: cython.bint = len(txn) > 0
    with_cmd: cython.bint = len(cmd) > 0
    with_nkeys: cython.bint = len(nkeys) > 0
    with_argc: cython.bint = len(argc) > 0
    with_status: cython.bint = len(status) > 0
    with_key: cython.bint = len(key_there) > 0
    key_end: cython.longlong = key_offsets[rows]
    # Up to here eight, and sixteen, bytes can be taken, whatever they are.
    eight: cython.Py_ssize_t = size - 8
    sixteen: cython.Py_ssize_t = size - 16
    low: cython.ulonglong
    high: cython.ulonglong
    slot: cython.longlong
    at: cython.Py_ssize_t
    end: cython.Py_ssize_t
    i: cython.Py_ssize_t
    arguments: cython.Py_ssize_t
    key_at: cython.Py_ssize_t
    key_size: cython.longlong
    count: cython.longlong
    k: cython.longlong
    header: cython.longlong
    length: cython.longlong
    number: cython.longlong
    first: cython.longlong
    last: cython.longlong
    found: cython.longlong
    code: cython.longlong
    current: cython.short = state[0]
    shown_ts: cython.longlong
    shown_txn: cython.longlong = state[1] if state[4] else 0
    inside: cython.bint = state[4] != 0
    # What pandas has for no time; a literal of more than 31 bits would be a Python object.
    missing_ts: cython.longlong = -1
    missing_ts = missing_ts << 63
    shown_ts = state[2] if state[2] >= 0 else missing_ts
    with cython.nogil:
        state[7] = 0
        while pos < size:
            if p[pos] == 35:  # #
                end = annotation_end(p, pos, size)
                if end < 0:
                    break
                number = seconds_at(p, pos, end)
                if number >= 0:
                    state[2] = shown_ts = number
                pos = end + 2
                continue
            if rows >= room:
                break
            header = header_at(p, pos, size, 42)  # *
            if header < 256:
                break
            count = header >> 8
            at = pos + (header & 255)
            # Six bytes an argument at least.
            if count > (size - at) // 6:
                break
            header = header_at(p, at, size, 36)  # $
            if header < 0:
                break
            at += header & 255
            length = header >> 8
            end = at + length
            if end > size - 2 or p[end] != 13 or p[end + 1] != 10:
                break
            code = state[8]
            if code >= 0:
                state[8] = -1
            else:
                if length > 15:
                    state[7] = 1
                    break
                low = word_at(p, at, min(length, 8), eight)
                high = length
                if length > 8:
                    high |= word_at(p, at + 8, length - 8, eight) << 8
                slot = slot_of(low, high, slots)
                while numbers[slot] >= 0 and (lows[slot] != low or highs[slot] != high):
                    slot = (slot + 1) & (slots - 1)
                code = numbers[slot]
                if code < 0 or commands[code, 3]:
                    state[7] = 1
                    break
                state[9] = -1
            found = 0
            if state[9] >= 0:
                first = state[9]
                found = state[10]
            else:
                first = commands[code, 0]
                last = commands[code, 1]
                if last < 0:
                    last += count
                last = min(last, count - 1)
                if 0 < first <= last:
                    found = last - first + 1
                    if commands[code, 2] != 1:
                        found = (last - first) // commands[code, 2] + 1
            if found == 0:
                first = 0
            key_at = 0
            key_size = 0
            at = arguments = end + 2
            k = 1
            while k < count:
                header = header_at(p, at, size, 36)
                if header < 0:
                    break
                at += header & 255
                end = at + (header >> 8)
                if end > size - 2 or p[end] != 13 or p[end + 1] != 10:
                    break
                if k == first:
                    key_at = at
                    key_size = header >> 8
                at = end + 2
                k += 1
            if k < count:
                # What was said of it is said again when all of it is there.
                break
            if 1 <= code <= 3:
                if code == 1:
                    number = database_at(p, arguments, at)
                    if number >= 0:
                        current = number
                        state[3] = max(state[3], number)
                elif code == 2 and not inside:
                    inside = True
                    state[1] += 1
                    shown_txn = state[1]
                    state[5] = base + pos
                    state[6] = rows
                elif code == 3:
                    inside = False
            if with_offset:
                offset[rows] = base + pos
            if with_nbytes:
                nbytes[rows] = at - pos
            if with_ts:
                ts[rows] = shown_ts
            if with_db:
                db[rows] = current
            if with_txn:
                txn[rows] = shown_txn
            if with_cmd:
                cmd[rows] = commands[code, 5]
            if with_nkeys:
                nkeys[rows] = min(found, 32767)
            if with_argc:
                argc[rows] = count
            if with_status:
                status[rows] = commands[code, 4]
            if with_key:
                key_there[rows] = found > 0
                if not cython.compiled:
                    for i in range(key_size):
                        key_bytes[key_end + i] = p[key_at + i]
                elif key_size <= 16 and key_at <= sixteen:
                    # A copy of a fixed size is one instruction; what is too much of it the next one is written over.
                    memcpy(cython.address(key_bytes[key_end]), p + key_at, 16)
                else:
                    memcpy(cython.address(key_bytes[key_end]), p + key_at, key_size)
                key_end += key_size
                key_offsets[rows + 1] = key_end
            if not inside:
                shown_txn = 0
            rows += 1
            pos = at
    state[0] = current
    state[4] = 1 if inside else 0
    return pos, rows
