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
    one: cython.ulonglong = 1
    low: cython.ulonglong
    high: cython.ulonglong
    slot: cython.longlong
    at: cython.Py_ssize_t
    end: cython.Py_ssize_t
    i: cython.Py_ssize_t
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
                end = _annotation(p, pos, size)
                if end < 0:
                    break
                number = _seconds(p, pos, end)
                if number >= 0:
                    state[2] = shown_ts = number
                pos = end + 2
                continue
            if rows >= room:
                break
            header = _header(p, pos, size, 42)  # *
            if header < 256:
                break
            count = header >> 8
            at = pos + (header & 255)
            # Six bytes an argument at least.
            if count > (size - at) // 6:
                break
            header = _header(p, at, size, 36)  # $
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
                high = 0
                if 0 < length <= 8 and at <= eight:
                    low = _eight(p, at) & (((one << (8 * length - 1)) - 1) * 2 + 1)
                else:
                    low = _few(p, at, min(length, 8))
                    high = _few(p, at + 8, length - 8)
                high = high << 8 | length
                slot = _slot(low, high, slots)
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
            at = end + 2
            k = 1
            while k < count:
                header = _header(p, at, size, 36)
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
                if code == 1 and count == 2:
                    number = _database(p, pos, at)
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


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _annotation(p: cython.p_const_uchar, pos: cython.Py_ssize_t, size: cython.Py_ssize_t) -> cython.Py_ssize_t:
    """The end of the annotation that begins at p[pos], its line end not counted; negative if it is not in order."""
    end: cython.Py_ssize_t = pos
    # The longest annotation, its line end not counted.
    longest: cython.Py_ssize_t = 1021
    while end < size and p[end] != 10 and end - pos <= longest + 1:
        end += 1
    if end >= size or p[end] != 10 or p[end - 1] != 13 or end - 1 - pos > longest:
        return -1
    return end - 1


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _seconds(p: cython.p_const_uchar, pos: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.longlong:
    """The time that the annotation from p[pos] to p[end] tells, as `scan._ts` has it; negative if it tells none."""
    i: cython.Py_ssize_t
    seconds: cython.longlong = 0
    # In two halves, since a longer literal would be a Python object.
    latest: cython.longlong = 253402
    latest = latest * 1000000 + 300799
    if not 5 <= end - pos <= 16 or p[pos + 1] != 84 or p[pos + 2] != 83 or p[pos + 3] != 58:
        return -1
    for i in range(pos + 4, end):
        if not 48 <= p[i] <= 57:
            return -1
        seconds = seconds * 10 + (p[i] - 48)
    return seconds if seconds <= latest else -1


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _header(
    p: cython.p_const_uchar, at: cython.Py_ssize_t, size: cython.Py_ssize_t, kind: cython.uchar
) -> cython.longlong:
    """Header of that kind at p[at]: its number, shifted by 8, and how many bytes it has; negative if there is none."""
    i: cython.Py_ssize_t = at + 1
    number: cython.longlong = 0
    tens: cython.longlong
    ones: cython.longlong
    if at > size - 4 or p[at] != kind:
        return -1
    # Nearly all have one digit or two.
    if at < size - 4 and 48 <= p[i] <= 57:
        ones = p[i] - 48
        if p[at + 2] == 13 and p[at + 3] == 10:
            return (ones << 8) + 4
        tens = ones
        ones = p[at + 2] - 48
        if 0 <= ones <= 9 and p[at + 3] == 13 and p[at + 4] == 10:
            return ((tens * 10 + ones) << 8) + 5
    while i < size and 48 <= p[i] <= 57 and i - at <= 10:
        number = number * 10 + (p[i] - 48)
        i += 1
    if i == at + 1 or i > size - 2 or p[i] != 13 or p[i + 1] != 10:
        return -1
    return (number << 8) + (i + 2 - at)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _slot(low: cython.ulonglong, high: cython.ulonglong, slots: cython.longlong) -> cython.longlong:
    mixed: cython.ulonglong = low ^ (low >> 11) ^ (low >> 23) ^ (low >> 37) ^ (low >> 49) ^ high ^ (high >> 13)
    return mixed & (slots - 1)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _wide(byte: cython.uchar) -> cython.ulonglong:
    return byte


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _few(p: cython.p_const_uchar, at: cython.Py_ssize_t, count: cython.longlong) -> cython.ulonglong:
    """As `_eight`, for `count` bytes, at most eight; 0 for none."""
    word: cython.ulonglong = 0
    while count > 0:
        count -= 1
        word = word << 8 | p[at + count]
    return word


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _eight(p: cython.p_const_uchar, at: cython.Py_ssize_t) -> cython.ulonglong:
    """Eight bytes as one number, the first the lowest; with a pointer to the first, compilers make one load of it."""
    q: cython.p_const_uchar
    if cython.compiled:
        q = p + at
    else:
        q = p[at : at + 8]
    return (
        _wide(q[0])
        | _wide(q[1]) << 8
        | _wide(q[2]) << 16
        | _wide(q[3]) << 24
        | _wide(q[4]) << 32
        | _wide(q[5]) << 40
        | _wide(q[6]) << 48
        | _wide(q[7]) << 56
    )


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _database(p: cython.p_const_uchar, pos: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.longlong:
    """What the SELECT of one argument selects that is from p[pos] to p[end]; negative if that cannot be."""
    at: cython.Py_ssize_t = pos + (_header(p, pos, end, 42) & 255)
    header: cython.longlong = _header(p, at, end, 36)
    i: cython.Py_ssize_t
    number: cython.longlong = 0
    at += (header & 255) + (header >> 8) + 2
    header = _header(p, at, end, 36)
    at += header & 255
    if not 1 <= header >> 8 <= 5:
        return -1
    for i in range(at, end - 2):
        if not 48 <= p[i] <= 57:
            return -1
        number = number * 10 + (p[i] - 48)
    return number if number <= 32767 else -1
