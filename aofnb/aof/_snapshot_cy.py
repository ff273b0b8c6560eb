# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Kernel: a snapshot written by a walk over the data where it lies, by a forked child or by the caller itself.

The child runs no Python and allocates nothing: it follows borrowed references, fills a buffer that was made before the
fork, writes and leaves. So it may be forked from a process with threads, and since it touches no count of references,
it copies no pages but those that the parent changes meanwhile.

Forms are the plainest that a server of any version from 5.0 on loads: lists, sets, hashes and sorted sets one by one,
streams in their listpacks; a server packs small ones when it loads them.

Nothing of this works in plain Python: `COMPILED` says whether it does. The twin that tests compare it with is
`aofnb.rdb.write_rdb`.

Redis: rdb.c rdbSaveRio, rdbSaveObject; rio.c rioFileWrite; t_stream.c streamAppendItem; listpack.c (7.0.15).
"""

from __future__ import annotations

try:
    import cython
except ModuleNotFoundError:
    from aofnb import _cython as cython

COMPILED = cython.compiled


class Snapshot:
    """A child that writes, and the page on which it says how far it is. Made by `start`."""

    def __dealloc__(self):
        if self._page != cython.NULL:
            aofnb_drop_page(self._page)

    def read(self):
        """``(state, problem, keys, bytes)``: 1 writing, 2 done, 3 failed; the problem is an errno, -1 if there was
        something that cannot be walked, -2 if the parent was gone.
        """
        return self._page.state, self._page.problem, self._page.keys, self._page.bytes


def start(fd, last_fd, prefix, databases, types, checksum, durable, sync_bytes, key_delay, in_child):
    """Fork the child that writes `databases` to `fd`; the caller holds the lock that keeps them as they are.

    Parameters
    ----------
    fd
        Open for writing at its end.
    last_fd
        The child closes all others up to this one: locks and sockets must not outlive the parent in it.
    prefix
        What comes first: magic, version, what the file says of itself, functions.
    databases
        For each that is not empty: the bytes that begin it, its table of values, its table of deadlines in ms.
    types
        Classes and descriptors of their slots, as `aofnb.aof.snapshot.layout` gives them.
    checksum
        Whether to end with the checksum, and not with zeros.
    durable
        Whether to sync the file at the end.
    sync_bytes
        Have so many bytes written back at a time; 0 for all at the end.
    key_delay
        As rdb-key-save-delay.
    in_child
        Else there is no child: all is written before this returns, and nothing else runs meanwhile.

    Returns
    -------
    Snapshot
        The running child, to be waited for by its `pid`; without one it is done, or failed, and `pid` is 0.

    Raises
    ------
    OSError
        There can be no child.
    TypeError
        A class keeps its things elsewhere.
    """
    out: cython.pointer(Out) = cython.cast(cython.pointer(Out), raw_alloc(1, cython.sizeof(Out)))
    page: cython.pointer(Page) = cython.cast(cython.pointer(Page), aofnb_shared_page())
    snapshot: Snapshot = Snapshot.__new__(Snapshot)
    snapshot._page = page
    pid: pid_t = -1
    problem: cython.int = 0
    i: cython.Py_ssize_t
    if out == cython.NULL or page == cython.NULL:
        raw_free(out)
        raise MemoryError
    out.buf = cython.cast(cython.p_char, raw_alloc(1, BUF_BYTES))
    out.tables = cython.cast(cython.pointer(Tables), raw_alloc(len(databases) + 1, cython.sizeof(Tables)))
    try:
        if out.buf == cython.NULL or out.tables == cython.NULL:
            raise MemoryError
        _set_layout(cython.cast(cython.pointer(cython.p_void), cython.address(out.layout)), types)
        for i in range(len(databases)):
            header, data, expires = databases[i]
            if not (isinstance(header, bytes) and isinstance(data, Table) and isinstance(expires, Table)):
                raise TypeError("a database is bytes and two tables")
            # The list holds them as long as we need them.
            out.tables[i].header = cython.cast(cython.pointer(PyObject), header)
            out.tables[i].data = cython.address(cython.cast(Table, data).keys)
            out.tables[i].expires = cython.address(cython.cast(Table, expires).keys)
        out.databases = len(databases)
        out.page = page
        out.fd = fd
        out.last_fd = last_fd
        # Without it nobody wants the file.
        out.parent = getpid() if in_child else getppid()
        out.checksum = checksum
        out.durable = durable
        out.incremental = sync_bytes > 0
        out.sync_bytes = sync_bytes
        out.key_delay = key_delay
        out.prefix = cython.cast(cython.pointer(PyObject), prefix)
        page.state = WRITING
        if in_child:
            pid = fork()
            if pid == 0:
                _child(out)
            problem = aofnb_errno
        else:
            _write(out)
            pid = 0
    finally:
        raw_free(out.tables)
        raw_free(out.buf)
        raw_free(out)
    if pid < 0:
        raise OSError(problem, "fork failed")
    snapshot.pid = pid
    return snapshot


def _set_layout(slots, types):
    """Fill a `Layout`, all of whose members are as large as a pointer, in their order."""
    i: cython.Py_ssize_t
    offset: cython.Py_ssize_t
    if len(types) * cython.sizeof(cython.p_void) != cython.sizeof(Layout):
        raise TypeError("a layout has another number of classes and slots")
    for i in range(len(types)):
        each = types[i]
        if isinstance(each, type):
            slots[i] = cython.cast(cython.p_void, each)
            continue
        offset = aofnb_offset(cython.cast(cython.pointer(PyObject), each))
        if offset < 0:
            raise TypeError(f"{each!r} is no slot")
        slots[i] = cython.cast(cython.p_void, offset)
    return 0


def _child(out):
    """The whole life of the child."""
    fd: cython.int
    aofnb_own_signals()
    for fd in range(out.last_fd + 1):
        if fd != out.fd:
            close(fd)
    _write(out)
    _exit(0 if out.problem == 0 else 1)


def _write(out):
    """The whole file, and on the page what became of it."""
    i: cython.Py_ssize_t
    _put(out, bytes_text(out.prefix), bytes_size(out.prefix))
    for i in range(out.databases):
        _walk(out, cython.address(out.tables[i]))
    _byte(out, OPCODE_EOF)
    _flush(out)
    _little_endian(out, out.crc if out.checksum else 0, 8)
    out.checksum = False
    _flush(out)
    if out.problem == 0 and out.durable:
        out.problem = aofnb_sync(out.fd)
    out.page.problem = out.problem
    out.page.state = DONE if out.problem == 0 else FAILED


# --- keys ------------------------------------------------------------------------------------------------------


def _walk(out, tables):
    """One database."""
    place: cython.Py_ssize_t
    record: cython.pointer(Record)
    deadline: cython.pointer(Record)
    # Where the search for the next deadline begins: that table is most often in the same order.
    next_place: cython.Py_ssize_t = 0
    _put(out, bytes_text(tables.header), bytes_size(tables.header))
    for place in range(tables.data.used):
        record = tables.data.records[place]
        if record == cython.NULL:
            continue
        deadline = _deadline(tables.expires, record, cython.address(next_place))
        if deadline != cython.NULL:
            _byte(out, OPCODE_EXPIRETIME_MS)
            if kind_of(deadline) == NUMBER:
                _little_endian(out, cython.cast(uint64_t, value_number(deadline)[0]), 8)
            else:
                out.problem = NOT_WALKABLE
        _value(out, record)
        if out.problem != 0:
            return
        _key_done(out)


def _key_done(out):
    out.keys += 1
    out.page.keys = out.keys
    if out.key_delay > 0:
        aofnb_rest(out.key_delay)
    elif out.key_delay < 0 and out.keys % -out.key_delay == 0:
        aofnb_rest(1)
    if out.key_delay != 0 and getppid() != out.parent:
        out.problem = ORPHANED


def _deadline(expires, key, place):
    """The deadline of the key of that record, or NULL. `place` is where the one found last was, and moves on."""
    found: cython.pointer(Record)
    if expires.live == 0:
        return cython.NULL
    while place[0] < expires.used and expires.records[place[0]] == cython.NULL:
        place[0] += 1
    if place[0] < expires.used:
        found = expires.records[place[0]]
        if key_size(found) == key_size(key) and memcmp(key_text(found), key_text(key), key_size(key)) == 0:
            place[0] += 1
            return found
    found = record_of(expires, key_text(key), key_size(key))
    # Out of order as well: it stays about as far as the walk is.
    if found != cython.NULL:
        place[0] += 1
    return found


def _value(out, record):
    """Type, key and value."""
    value: cython.pointer(PyObject)
    data: cython.pointer(PyObject)
    if kind_of(record) == NUMBER:
        out.problem = NOT_WALKABLE
        return
    if kind_of(record) != OBJECT:
        _byte(out, TYPE_STRING)
        _key(out, record)
        _string(out, value_text(record), kind_of(record))
        return
    value = value_object(record)[0]
    if aofnb_is(value, cython.cast(cython.pointer(PyObject), Later)):
        data = later_data(value)
        if aofnb_is_bytes(data):
            _byte(out, later_kind(value))
            _key(out, record)
            _put(out, bytes_text(data), bytes_size(data))
            return
        value = later_value(value)
    if aofnb_is_bytes(value) or aofnb_is_bytearray(value):
        _byte(out, TYPE_STRING)
        _key(out, record)
        _text(out, value)
    elif aofnb_is(value, out.layout.hash_type):
        _byte(out, TYPE_HASH)
        _key(out, record)
        _hash(out, aofnb_slot(value, out.layout.hash_fields))
    elif aofnb_is(value, out.layout.list_type):
        _byte(out, TYPE_LIST)
        _key(out, record)
        _list(out, aofnb_slot(value, out.layout.list_chunks))
    elif aofnb_is(value, out.layout.set_type):
        _byte(out, TYPE_SET)
        _key(out, record)
        _set(out, aofnb_slot(value, out.layout.set_members))
    elif aofnb_is(value, out.layout.zset_type):
        _byte(out, TYPE_ZSET_2)
        _key(out, record)
        _zset(out, aofnb_slot(value, out.layout.zset_scores))
    elif aofnb_is(value, out.layout.stream_type):
        _byte(out, TYPE_STREAM_LISTPACKS_2)
        _key(out, record)
        _stream(out, value)
    else:
        out.problem = NOT_WALKABLE


def _key(out, record):
    _string(out, key_text(record), key_size(record))


# --- containers ------------------------------------------------------------------------------------------------


def _list(out, chunks):
    i: cython.Py_ssize_t
    j: cython.Py_ssize_t
    count: cython.Py_ssize_t = 0
    chunk: cython.pointer(PyObject)
    if aofnb_is_bytes(chunks):
        _packed_texts(out, chunks, 1)
        return
    if not aofnb_is_sequence(chunks):
        out.problem = NOT_WALKABLE
        return
    for i in range(sequence_size(chunks)):
        chunk = sequence_item(chunks, i)
        if not aofnb_is_sequence(chunk):
            out.problem = NOT_WALKABLE
            return
        count += sequence_size(chunk)
    _length(out, count)
    for i in range(sequence_size(chunks)):
        chunk = sequence_item(chunks, i)
        for j in range(sequence_size(chunk)):
            _text(out, sequence_item(chunk, j))


def _set(out, members):
    place: cython.Py_ssize_t = 0
    member: cython.pointer(PyObject) = cython.NULL
    nothing: cython.pointer(PyObject) = cython.NULL
    if not aofnb_is_dict(members):
        out.problem = NOT_WALKABLE
        return
    _length(out, dict_size(members))
    while dict_next(members, cython.address(place), cython.address(member), cython.address(nothing)):
        _text(out, member)


def _hash(out, fields):
    place: cython.Py_ssize_t = 0
    field: cython.pointer(PyObject) = cython.NULL
    value: cython.pointer(PyObject) = cython.NULL
    if aofnb_is_bytes(fields):
        _packed_texts(out, fields, 2)
        return
    if not aofnb_is_dict(fields):
        out.problem = NOT_WALKABLE
        return
    _length(out, dict_size(fields))
    while dict_next(fields, cython.address(place), cython.address(field), cython.address(value)):
        _text(out, field)
        _text(out, value)


def _zset(out, scores):
    place: cython.Py_ssize_t = 0
    member: cython.pointer(PyObject) = cython.NULL
    score: cython.pointer(PyObject) = cython.NULL
    number: cython.double
    bits: uint64_t = 0
    if aofnb_is_bytes(scores):
        _packed_scores(out, scores)
        return
    if not aofnb_is_dict(scores):
        out.problem = NOT_WALKABLE
        return
    _length(out, dict_size(scores))
    while dict_next(scores, cython.address(place), cython.address(member), cython.address(score)):
        if not aofnb_is_float(score):
            out.problem = NOT_WALKABLE
            return
        _text(out, member)
        number = float_value(score)
        memcpy(cython.address(bits), cython.address(number), 8)
        _little_endian(out, bits, 8)


def _packed_texts(out, packed, width):
    """A list (a width of 1) or a hash (2) that is one string of bytes: see `aofnb.store._packed_cy`."""
    p: cython.p_uchar = cython.cast(cython.p_uchar, bytes_text(packed))
    size: cython.Py_ssize_t = bytes_size(packed)
    at: cython.Py_ssize_t = 1
    count: cython.Py_ssize_t = 0
    _length(out, p[0])
    while at < size:
        if at + 1 + p[at] > size:
            break
        _string(out, cython.cast(cython.p_char, p + at + 1), p[at])
        at += 1 + p[at]
        count += 1
    if at != size or count != p[0] * width:
        out.problem = NOT_WALKABLE


def _packed_scores(out, packed):
    """A sorted set that is one string of bytes."""
    p: cython.p_uchar = cython.cast(cython.p_uchar, bytes_text(packed))
    size: cython.Py_ssize_t = bytes_size(packed)
    at: cython.Py_ssize_t = 1
    i: cython.Py_ssize_t
    kind: cython.int
    width: cython.Py_ssize_t
    count: cython.Py_ssize_t = 0
    whole: int64_t
    number: cython.double
    bits: uint64_t
    _length(out, p[0])
    while at < size:
        kind = p[at] >> 6
        width = 8 if kind == 3 else 6 if kind == 2 else 3 if kind == 1 else 1
        if at + 1 + (p[at] & 63) + width > size:
            break
        _string(out, cython.cast(cython.p_char, p + at + 1), p[at] & 63)
        at += 1 + (p[at] & 63)
        bits = 0
        for i in range(width - 1, -1, -1):
            bits = (bits << 8) | p[at + i]
        if kind != 3:
            # The sign is the highest bit of those stored.
            whole = cython.cast(int64_t, bits << (64 - 8 * width)) >> (64 - 8 * width)
            number = cython.cast(cython.double, whole)
            memcpy(cython.address(bits), cython.address(number), 8)
        _little_endian(out, bits, 8)
        at += width
        count += 1
    if at != size or count != p[0]:
        out.problem = NOT_WALKABLE


# --- streams ---------------------------------------------------------------------------------------------------


def _stream(out, stream):
    i: cython.Py_ssize_t
    count: cython.Py_ssize_t = 0
    place: cython.Py_ssize_t = 0
    nodes: cython.pointer(PyObject) = aofnb_slot(stream, out.layout.stream_nodes)
    groups: cython.pointer(PyObject) = aofnb_slot(stream, out.layout.stream_groups)
    node: cython.pointer(PyObject)
    ids: cython.pointer(PyObject)
    first: cython.pointer(PyObject) = cython.NULL
    name: cython.pointer(PyObject) = cython.NULL
    group: cython.pointer(PyObject) = cython.NULL
    if not aofnb_is_sequence(nodes) or not aofnb_is_dict(groups):
        out.problem = NOT_WALKABLE
        return
    # Nodes without a live entry are left out.
    for i in range(sequence_size(nodes)):
        node = sequence_item(nodes, i)
        if not aofnb_is(node, out.layout.node_type):
            out.problem = NOT_WALKABLE
            return
        ids = aofnb_slot(node, out.layout.node_ids)
        if not aofnb_is_sequence(ids):
            out.problem = NOT_WALKABLE
            return
        if sequence_size(ids) > 0:
            count += 1
            if first == cython.NULL:
                first = sequence_item(ids, 0)
    _length(out, count)
    for i in range(sequence_size(nodes)):
        node = sequence_item(nodes, i)
        if sequence_size(aofnb_slot(node, out.layout.node_ids)) > 0:
            _node(out, node)
    _length(out, _int(out, aofnb_slot(stream, out.layout.stream_length)))
    _id_lengths(out, aofnb_slot(stream, out.layout.stream_last_id))
    if first == cython.NULL:
        _length(out, 0)
        _length(out, 0)
    else:
        _id_lengths(out, first)
    _id_lengths(out, aofnb_slot(stream, out.layout.stream_max_deleted_id))
    _length(out, _int(out, aofnb_slot(stream, out.layout.stream_entries_added)))
    _length(out, dict_size(groups))
    while dict_next(groups, cython.address(place), cython.address(name), cython.address(group)):
        _text(out, name)
        _group(out, group)


def _node(out, node):
    """One node: its first id, and its entries as a listpack, measured first since its size stands before it."""
    master_id: cython.pointer(PyObject) = aofnb_slot(node, out.layout.node_master_id)
    fields: cython.pointer(PyObject) = aofnb_slot(node, out.layout.node_fields)
    ids: cython.pointer(PyObject) = aofnb_slot(node, out.layout.node_ids)
    entries: cython.pointer(PyObject) = aofnb_slot(node, out.layout.node_entries)
    ms: uint64_t
    seq: uint64_t
    if (
        not _is_id(out, master_id)
        or not aofnb_is_sequence(fields)
        or not aofnb_is_sequence(entries)
        or sequence_size(entries) != sequence_size(ids)
    ):
        out.problem = NOT_WALKABLE
        return
    ms = int_value(sequence_item(master_id, 0))
    seq = int_value(sequence_item(master_id, 1))
    out.measuring = True
    out.measured = 7
    out.elements = 0
    _node_elements(out, ids, entries, fields, ms, seq)
    out.measuring = False
    if out.problem != 0:
        return
    _length(out, 16)
    _raw_id(out, master_id)
    _length(out, out.measured)
    _little_endian(out, out.measured, 4)
    # 65535 says that nobody counted.
    _little_endian(out, out.elements if out.elements < 65535 else 65535, 2)
    _node_elements(out, ids, entries, fields, ms, seq)
    _byte(out, 255)


def _node_elements(out, ids, entries, fields, ms, seq):
    i: cython.Py_ssize_t
    j: cython.Py_ssize_t
    count: cython.Py_ssize_t = sequence_size(ids)
    width: cython.Py_ssize_t = sequence_size(fields)
    size: cython.Py_ssize_t
    same: cython.bint
    entry_id: cython.pointer(PyObject)
    items: cython.pointer(PyObject)
    _element_int(out, count)
    _element_int(out, 0)
    _element_int(out, width)
    for j in range(width):
        _element_text(out, sequence_item(fields, j))
    _element_int(out, 0)
    for i in range(count):
        entry_id = sequence_item(ids, i)
        items = sequence_item(entries, i)
        if not _is_id(out, entry_id) or not aofnb_is_sequence(items):
            out.problem = NOT_WALKABLE
            return
        size = sequence_size(items)
        same = _fields_are(items, fields)
        _element_int(out, SAME_FIELDS if same else 0)
        # Distances wrap around at 64 bits.
        _element_int(out, cython.cast(int64_t, int_value(sequence_item(entry_id, 0)) - ms))
        _element_int(out, cython.cast(int64_t, int_value(sequence_item(entry_id, 1)) - seq))
        if not same:
            _element_int(out, size // 2)
        for j in range(1 if same else 0, size, 1):
            if not same or j % 2 == 1:
                _element_text(out, sequence_item(items, j))
        _element_int(out, 3 + width if same else 4 + size)


def _same(a, b):
    """Whether two strings are equal."""
    if a == b:
        return True
    if not aofnb_is_bytes(a) or not aofnb_is_bytes(b) or bytes_size(a) != bytes_size(b):
        return False
    return memcmp(bytes_text(a), bytes_text(b), bytes_size(a)) == 0


def _fields_are(items, fields):
    """Whether the fields among `items` (field, value, field, value, ...) are `fields`."""
    i: cython.Py_ssize_t
    if sequence_size(items) != 2 * sequence_size(fields):
        return False
    for i in range(sequence_size(fields)):  # noqa: SIM110  # a generator is an object
        if not _same(sequence_item(items, 2 * i), sequence_item(fields, i)):
            return False
    return True


def _group(out, group):
    place: cython.Py_ssize_t = 0
    pending: cython.pointer(PyObject)
    consumers: cython.pointer(PyObject)
    entry_id: cython.pointer(PyObject) = cython.NULL
    each: cython.pointer(PyObject) = cython.NULL
    if not aofnb_is(group, out.layout.group_type):
        out.problem = NOT_WALKABLE
        return
    pending = _by_id(out, aofnb_slot(group, out.layout.group_pel))
    consumers = aofnb_slot(group, out.layout.group_consumers)
    if pending == cython.NULL or not aofnb_is_dict(consumers):
        out.problem = NOT_WALKABLE
        return
    _id_lengths(out, aofnb_slot(group, out.layout.group_last_id))
    # Unknown is -1, of which 64 bits make the highest number.
    _length(out, _int(out, aofnb_slot(group, out.layout.group_entries_read)))
    _length(out, dict_size(pending))
    while dict_next(pending, cython.address(place), cython.address(entry_id), cython.address(each)):
        if not aofnb_is(each, out.layout.pending_type):
            out.problem = NOT_WALKABLE
            return
        _raw_id(out, entry_id)
        _little_endian(out, _int(out, aofnb_slot(each, out.layout.pending_delivered_ms)), 8)
        _length(out, _int(out, aofnb_slot(each, out.layout.pending_deliveries)))
    _length(out, dict_size(consumers))
    place = 0
    while dict_next(consumers, cython.address(place), cython.address(entry_id), cython.address(each)):
        _consumer(out, each)


def _consumer(out, consumer):
    place: cython.Py_ssize_t = 0
    pending: cython.pointer(PyObject)
    entry_id: cython.pointer(PyObject) = cython.NULL
    each: cython.pointer(PyObject) = cython.NULL
    if not aofnb_is(consumer, out.layout.consumer_type):
        out.problem = NOT_WALKABLE
        return
    pending = _by_id(out, aofnb_slot(consumer, out.layout.consumer_pel))
    if pending == cython.NULL:
        return
    _text(out, aofnb_slot(consumer, out.layout.consumer_name))
    _little_endian(out, _int(out, aofnb_slot(consumer, out.layout.consumer_seen_ms)), 8)
    _length(out, dict_size(pending))
    while dict_next(pending, cython.address(place), cython.address(entry_id), cython.address(each)):
        _raw_id(out, entry_id)


def _by_id(out, pending_list):
    """The dict of a list of pending entries, or NULL."""
    found: cython.pointer(PyObject)
    if aofnb_is(pending_list, out.layout.pending_list_type):
        found = aofnb_slot(pending_list, out.layout.pending_list_by_id)
        if aofnb_is_dict(found):
            return found
    out.problem = NOT_WALKABLE
    return cython.NULL


def _is_id(out, entry_id):
    return (
        aofnb_is_sequence(entry_id)
        and sequence_size(entry_id) == 2
        and aofnb_is_int(sequence_item(entry_id, 0))
        and aofnb_is_int(sequence_item(entry_id, 1))
    )


def _raw_id(out, entry_id):
    if not _is_id(out, entry_id):
        out.problem = NOT_WALKABLE
        return
    _big_endian(out, int_value(sequence_item(entry_id, 0)), 8)
    _big_endian(out, int_value(sequence_item(entry_id, 1)), 8)


def _id_lengths(out, entry_id):
    if not _is_id(out, entry_id):
        out.problem = NOT_WALKABLE
        return
    _length(out, int_value(sequence_item(entry_id, 0)))
    _length(out, int_value(sequence_item(entry_id, 1)))


def _int(out, number):
    if not aofnb_is_int(number):
        out.problem = NOT_WALKABLE
        return 0
    return int_value(number)


# --- elements of a listpack ------------------------------------------------------------------------------------


def _element_int(out, number):
    """A whole number, as short as it can be."""
    size: cython.int
    if 0 <= number < 128:
        size = 1
    elif -4096 <= number < 4096:
        size = 2
    elif -32768 <= number < 32768:
        size = 3
    elif -2147483647 <= number <= 2147483647:
        size = 5
    else:
        size = 9
    if out.measuring:
        out.elements += 1
        out.measured += size + 1
        return
    if size == 1:
        _byte(out, number)
    elif size == 2:
        _byte(out, 0xC0 | (number >> 8 & 0x1F))
        _byte(out, number & 0xFF)
    else:
        _byte(out, 0xF1 if size == 3 else 0xF3 if size == 5 else 0xF4)
        _little_endian(out, cython.cast(uint64_t, number), size - 1)
    _byte(out, size)


def _element_text(out, text):
    """Bytes as they are."""
    size: cython.Py_ssize_t
    head: cython.int
    if not aofnb_is_bytes(text):
        out.problem = NOT_WALKABLE
        return
    size = bytes_size(text)
    head = 1 if size < 64 else 2 if size < 4096 else 5
    if out.measuring:
        out.elements += 1
        out.measured += head + size
    elif head == 1:
        _byte(out, 0x80 | size)
    elif head == 2:
        _byte(out, 0xE0 | size >> 8)
        _byte(out, size & 0xFF)
    else:
        _byte(out, 0xF0)
        _little_endian(out, size, 4)
    if not out.measuring:
        _put(out, bytes_text(text), size)
    _backwards(out, head + size)


def _backwards(out, size):
    """The length of an element for who comes from behind: seven bits a byte, the highest first."""
    width: cython.int = 1
    shift: cython.int
    if size > 268435454:
        width = 5
    elif size > 2097150:
        width = 4
    elif size > 16382:
        width = 3
    elif size > 127:
        width = 2
    if out.measuring:
        out.measured += width
        return
    shift = 7 * (width - 1)
    _byte(out, size >> shift & 0x7F)
    while shift > 0:
        shift -= 7
        _byte(out, (size >> shift & 0x7F) | 0x80)


# --- strings and numbers ---------------------------------------------------------------------------------------


def _text(out, text):
    """A string, from bytes or a bytearray."""
    if aofnb_is_bytes(text):
        _string(out, bytes_text(text), bytes_size(text))
    elif aofnb_is_bytearray(text):
        _string(out, bytearray_text(text), bytearray_size(text))
    else:
        out.problem = NOT_WALKABLE


def _string(out, text, size):
    if 0 < size <= 11 and text[0] < 58 and _number(out, text, size):
        return
    _length(out, size)
    _put(out, text, size)


def _number(out, text, size):
    """Write `text` as a number, if it is the one spelling of one of up to 32 bits; whether it is."""
    i: cython.Py_ssize_t = 0
    negative: cython.bint = text[0] == 45  # -
    number: int64_t = 0
    if negative:
        i = 1
    # The digits begin with a zero only where it is all there is.
    if i == size or (text[i] == 48 and size > 1):
        return False
    while i < size:
        if text[i] < 48 or text[i] > 57:
            return False
        number = number * 10 + (text[i] - 48)
        i += 1
    if negative:
        number = -number
    if -128 <= number < 128:
        _byte(out, 0xC0)
        _little_endian(out, cython.cast(uint64_t, number), 1)
    elif -32768 <= number < 32768:
        _byte(out, 0xC1)
        _little_endian(out, cython.cast(uint64_t, number), 2)
    elif -2147483647 - 1 <= number <= 2147483647:
        _byte(out, 0xC2)
        _little_endian(out, cython.cast(uint64_t, number), 4)
    else:
        return False
    return True


def _length(out, number):
    if number < 64:
        _byte(out, number)
    elif number < 16384:
        _byte(out, 0x40 | number >> 8)
        _byte(out, number & 0xFF)
    elif number >> 32 == 0:
        _byte(out, 0x80)
        _big_endian(out, number, 4)
    else:
        _byte(out, 0x81)
        _big_endian(out, number, 8)


def _big_endian(out, number, size):
    while size > 0:
        size -= 1
        _byte(out, number >> 8 * size & 0xFF)


def _little_endian(out, number, size):
    i: cython.int
    for i in range(size):
        _byte(out, number >> 8 * i & 0xFF)


def _byte(out, byte):
    if out.used == BUF_BYTES:
        _flush(out)
    out.buf[out.used] = byte
    out.used += 1


# --- the file --------------------------------------------------------------------------------------------------


def _put(out, data, size):
    take: cython.Py_ssize_t
    while size > 0 and out.problem == 0:
        if out.used == BUF_BYTES:
            _flush(out)
        take = BUF_BYTES - out.used
        if take > size:
            take = size
        memcpy(out.buf + out.used, data, take)
        out.used += take
        data += take
        size -= take


def _flush(out):
    """Write the buffer, unless something went wrong before."""
    done: cython.Py_ssize_t = 0
    taken: cython.Py_ssize_t
    if out.problem == 0 and getppid() != out.parent:
        out.problem = ORPHANED
    if out.checksum:
        out.crc = _crc64(out.crc, cython.cast(cython.p_uchar, out.buf), out.used)
    while done < out.used and out.problem == 0:
        taken = write(out.fd, out.buf + done, out.used - done)
        if taken > 0:
            done += taken
        elif taken < 0 and not aofnb_interrupted:
            out.problem = aofnb_errno
    out.written += done
    out.used = 0
    while out.incremental and out.problem == 0 and out.written - out.synced >= out.sync_bytes:
        out.problem = aofnb_write_back(out.fd, out.synced, out.sync_bytes)
        out.synced += out.sync_bytes
    out.page.bytes = out.written


def _crc64(crc, data, size):
    """The checksum, eight bytes a step."""
    i: cython.Py_ssize_t = 0
    word: uint64_t = 0
    while size - i >= 8:
        memcpy(cython.address(word), data + i, 8)
        word ^= crc
        crc = (
            CRC[7][word & 0xFF]
            ^ CRC[6][word >> 8 & 0xFF]
            ^ CRC[5][word >> 16 & 0xFF]
            ^ CRC[4][word >> 24 & 0xFF]
            ^ CRC[3][word >> 32 & 0xFF]
            ^ CRC[2][word >> 40 & 0xFF]
            ^ CRC[1][word >> 48 & 0xFF]
            ^ CRC[0][word >> 56]
        )
        i += 8
    while i < size:
        crc = CRC[0][(crc ^ data[i]) & 0xFF] ^ crc >> 8
        i += 1
    return crc


def _fill_crc_tables():
    # In halves: a literal of 64 bits is a Python object.
    polynomial: uint64_t = (cython.cast(uint64_t, 0x95AC9329) << 32) | cython.cast(uint64_t, 0xAC4BC9B5)
    crc: uint64_t
    i: cython.int
    k: cython.int
    _bit: cython.int
    for i in range(256):
        crc = i
        for _bit in range(8):
            crc = (crc >> 1) ^ (polynomial if crc & 1 else 0)
        CRC[0][i] = crc
    for i in range(256):
        for k in range(1, 8):
            CRC[k][i] = CRC[0][CRC[k - 1][i] & 0xFF] ^ CRC[k - 1][i] >> 8


if cython.compiled:
    _fill_crc_tables()
