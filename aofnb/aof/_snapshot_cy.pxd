# What `_snapshot_cy.py` is in C: its types, and what it calls of the operating system and of Python.
# Everything that takes a PyObject * borrows it: no count of references is touched, or each would copy a page.

from aofnb.store._slots cimport aofnb_offset, aofnb_slot
from aofnb.store._table_cy cimport (
    NUMBER, OBJECT, Keys, Later, Record, Table, key_size, key_text, kind_of, later_data, later_kind, later_value,
    record_of, value_number, value_object, value_text,
)
from cpython.object cimport PyObject
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memcmp, memcpy
from posix.unistd cimport _exit, close, fork, getpid, getppid, write
from posix.types cimport pid_t

cdef extern from *:
    """
    #include <errno.h>
    #include <fcntl.h>
    #include <signal.h>
    #include <stdint.h>
    #include <sys/mman.h>
    #include <time.h>
    #include <unistd.h>

    #ifdef Py_GIL_DISABLED
    #error "the walk needs the data to stand still, which only the global interpreter lock sees to"
    #endif

    #define aofnb_is(object, type) ((object) != NULL && Py_TYPE(object) == (PyTypeObject *)(type))
    #define aofnb_is_bytes(object) ((object) != NULL && PyBytes_Check(object))
    #define aofnb_is_bytearray(object) ((object) != NULL && PyByteArray_Check(object))
    #define aofnb_is_dict(object) ((object) != NULL && PyDict_Check(object))
    #define aofnb_is_float(object) ((object) != NULL && PyFloat_Check(object))
    #define aofnb_is_int(object) ((object) != NULL && PyLong_Check(object))
    #define aofnb_is_sequence(object) ((object) != NULL && (PyList_Check(object) || PyTuple_Check(object)))

    static void *aofnb_shared_page(void) {
        void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        return page == MAP_FAILED ? NULL : page;
    }
    static void aofnb_drop_page(void *page) { munmap(page, 4096); }

    /* Have a piece of the file written back, and wait for the piece before it. */
    static int aofnb_write_back(int fd, int64_t offset, int64_t size) {
    #ifdef SYNC_FILE_RANGE_WRITE
        if (sync_file_range(fd, offset, size, SYNC_FILE_RANGE_WRITE) != 0) return errno == ENOSYS ? 0 : errno;
        if (offset >= size && sync_file_range(fd, offset - size, size, SYNC_FILE_RANGE_WAIT_BEFORE |
                SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER) != 0) return errno;
        return 0;
    #else
        return fsync(fd) == 0 ? 0 : errno;
    #endif
    }
    static int aofnb_sync(int fd) {
    #if defined(F_FULLFSYNC)
        return fcntl(fd, F_FULLFSYNC) == 0 ? 0 : errno;
    #elif defined(__linux__)
        return fdatasync(fd) == 0 ? 0 : errno;
    #else
        return fsync(fd) == 0 ? 0 : errno;
    #endif
    }
    static void aofnb_rest(int64_t microseconds) {
        struct timespec pause = {microseconds / 1000000, (microseconds % 1000000) * 1000};
        nanosleep(&pause, NULL);
    }
    /* Python's handlers wake its main thread through a pipe that is the parent's too. */
    static void aofnb_own_signals(void) {
        signal(SIGINT, SIG_IGN);
        signal(SIGTERM, SIG_DFL);
        signal(SIGHUP, SIG_DFL);
        signal(SIGUSR1, SIG_DFL);
        signal(SIGXFSZ, SIG_IGN);
    }
    #define aofnb_errno errno
    #define aofnb_interrupted (errno == EINTR)
    """
    bint aofnb_is(PyObject *object, PyObject *type) nogil
    bint aofnb_is_bytes(PyObject *object) nogil
    bint aofnb_is_bytearray(PyObject *object) nogil
    bint aofnb_is_dict(PyObject *object) nogil
    bint aofnb_is_float(PyObject *object) nogil
    bint aofnb_is_int(PyObject *object) nogil
    bint aofnb_is_sequence(PyObject *object) nogil
    void *aofnb_shared_page()
    void aofnb_drop_page(void *page)
    int aofnb_write_back(int fd, int64_t offset, int64_t size) nogil
    int aofnb_sync(int fd) nogil
    void aofnb_rest(int64_t microseconds) nogil
    void aofnb_own_signals() nogil
    int aofnb_errno
    bint aofnb_interrupted

cdef extern from "Python.h":
    char *bytes_text "PyBytes_AS_STRING"(PyObject *) nogil
    Py_ssize_t bytes_size "PyBytes_GET_SIZE"(PyObject *) nogil
    char *bytearray_text "PyByteArray_AS_STRING"(PyObject *) nogil
    Py_ssize_t bytearray_size "PyByteArray_GET_SIZE"(PyObject *) nogil
    Py_ssize_t sequence_size "PySequence_Fast_GET_SIZE"(PyObject *) nogil
    PyObject *sequence_item "PySequence_Fast_GET_ITEM"(PyObject *, Py_ssize_t) nogil
    Py_ssize_t dict_size "PyDict_Size"(PyObject *) noexcept nogil
    bint dict_next "PyDict_Next"(PyObject *, Py_ssize_t *, PyObject **, PyObject **) noexcept nogil
    double float_value "PyFloat_AS_DOUBLE"(PyObject *) nogil
    # The low 64 bits of any number: a negative one is its two's complement.
    uint64_t int_value "PyLong_AsUnsignedLongLongMask"(PyObject *) noexcept nogil
    void *raw_alloc "PyMem_RawCalloc"(size_t, size_t)
    void raw_free "PyMem_RawFree"(void *)

cdef enum:
    # How much is gathered before a write.
    BUF_BYTES = 1048576
    # Problems that are no errno.
    NOT_WALKABLE = -1
    ORPHANED = -2
    # States of a child.
    WRITING = 1
    DONE = 2
    FAILED = 3
    # Opcodes and types of a snapshot.
    OPCODE_EOF = 255
    OPCODE_EXPIRETIME_MS = 252
    TYPE_STRING = 0
    TYPE_LIST = 1
    TYPE_SET = 2
    TYPE_HASH = 4
    TYPE_ZSET_2 = 5
    TYPE_STREAM_LISTPACKS_2 = 19
    # Of an entry of a stream: its fields are those of the first in its node.
    SAME_FIELDS = 2

# What parent and child share.
cdef struct Page:
    int64_t keys
    int64_t bytes
    int32_t state
    int32_t problem

# Where the containers of `aofnb.store` keep what they hold.
cdef struct Layout:
    PyObject *list_type
    Py_ssize_t list_chunks
    PyObject *set_type
    Py_ssize_t set_members
    PyObject *hash_type
    Py_ssize_t hash_fields
    PyObject *zset_type
    Py_ssize_t zset_scores
    PyObject *stream_type
    Py_ssize_t stream_nodes
    Py_ssize_t stream_length
    Py_ssize_t stream_last_id
    Py_ssize_t stream_max_deleted_id
    Py_ssize_t stream_entries_added
    Py_ssize_t stream_groups
    PyObject *node_type
    Py_ssize_t node_master_id
    Py_ssize_t node_fields
    Py_ssize_t node_ids
    Py_ssize_t node_entries
    PyObject *group_type
    Py_ssize_t group_last_id
    Py_ssize_t group_entries_read
    Py_ssize_t group_pel
    Py_ssize_t group_consumers
    PyObject *consumer_type
    Py_ssize_t consumer_name
    Py_ssize_t consumer_seen_ms
    Py_ssize_t consumer_pel
    PyObject *pending_list_type
    Py_ssize_t pending_list_by_id
    PyObject *pending_type
    Py_ssize_t pending_delivered_ms
    Py_ssize_t pending_deliveries

cdef struct Tables:
    PyObject *header
    const Keys *data
    const Keys *expires

cdef struct Out:
    Layout layout
    Page *page
    int fd
    int last_fd
    pid_t parent
    bint checksum
    bint durable
    bint incremental
    int64_t sync_bytes
    int64_t key_delay
    Py_ssize_t databases
    PyObject *prefix
    # From here on the child's own.
    uint64_t crc
    int64_t written
    int64_t synced
    int64_t keys
    int problem
    Py_ssize_t used
    # While a listpack is measured, instead of written.
    bint measuring
    int64_t measured
    int64_t elements
    char *buf
    Tables *tables

cdef uint64_t CRC[8][256]

cdef void _fill_crc_tables() noexcept
cdef uint64_t _crc64(uint64_t crc, const unsigned char *data, Py_ssize_t size) noexcept nogil

cdef int _set_layout(void **slots, tuple types) except -1
cdef void _child(Out *out) noexcept nogil
cdef void _write(Out *out) noexcept nogil
cdef void _walk(Out *out, Tables *tables) noexcept nogil
cdef void _key_done(Out *out) noexcept nogil
cdef Record *_deadline(const Keys *expires, Record *key, Py_ssize_t *place) noexcept nogil
cdef void _value(Out *out, Record *record) noexcept nogil
cdef void _key(Out *out, Record *record) noexcept nogil
cdef void _list(Out *out, PyObject *chunks) noexcept nogil
cdef void _set(Out *out, PyObject *members) noexcept nogil
cdef void _hash(Out *out, PyObject *fields) noexcept nogil
cdef void _zset(Out *out, PyObject *scores) noexcept nogil
cdef void _packed_texts(Out *out, PyObject *packed, int width) noexcept nogil
cdef void _packed_scores(Out *out, PyObject *packed) noexcept nogil
cdef void _stream(Out *out, PyObject *stream) noexcept nogil
cdef void _node(Out *out, PyObject *node) noexcept nogil
cdef void _node_elements(Out *out, PyObject *ids, PyObject *entries, PyObject *fields, uint64_t ms,
                         uint64_t seq) noexcept nogil
cdef bint _same(PyObject *a, PyObject *b) noexcept nogil
cdef bint _fields_are(PyObject *items, PyObject *fields) noexcept nogil
cdef void _group(Out *out, PyObject *group) noexcept nogil
cdef void _consumer(Out *out, PyObject *consumer) noexcept nogil
cdef PyObject *_by_id(Out *out, PyObject *pending_list) noexcept nogil
cdef void _raw_id(Out *out, PyObject *entry_id) noexcept nogil
cdef void _id_lengths(Out *out, PyObject *entry_id) noexcept nogil
cdef bint _is_id(Out *out, PyObject *entry_id) noexcept nogil
cdef uint64_t _int(Out *out, PyObject *number) noexcept nogil

cdef void _element_int(Out *out, int64_t number) noexcept nogil
cdef void _element_text(Out *out, PyObject *text) noexcept nogil
cdef void _backwards(Out *out, int64_t size) noexcept nogil

cdef void _text(Out *out, PyObject *text) noexcept nogil
cdef void _string(Out *out, const char *text, Py_ssize_t size) noexcept nogil
cdef bint _number(Out *out, const char *text, Py_ssize_t size) noexcept nogil
cdef void _length(Out *out, uint64_t number) noexcept nogil
cdef void _big_endian(Out *out, uint64_t number, int size) noexcept nogil
cdef void _little_endian(Out *out, uint64_t number, int size) noexcept nogil
cdef void _byte(Out *out, int byte) noexcept nogil
cdef void _put(Out *out, const char *data, Py_ssize_t size) noexcept nogil
cdef void _flush(Out *out) noexcept nogil

cdef class Snapshot:
    cdef Page *_page
    cdef readonly int pid
