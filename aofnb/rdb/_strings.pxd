# What kernels find at a place of a snapshot: lengths, strings, numbers. Inline, since each is asked for every string.
# The twin in Python is `_strings.py`.

cdef extern from "string.h":
    void *memcpy(void *, const void *, size_t) nogil

cdef enum:
    ODD = -1
    CUT = -2

# The length at p[at], in as few bytes as hold it, of which `width_of` tells the number.
cdef inline Py_ssize_t length_at(const unsigned char *p, Py_ssize_t at, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t number
    if at >= size:
        return CUT
    if p[at] < 0x40:
        return p[at]
    if p[at] > 0x80:
        return ODD
    if at + (1 if p[at] < 0x80 else 4) >= size:
        return CUT
    if p[at] < 0x80:
        number = (p[at] & 63) << 8 | p[at + 1]
        return number if number >= 1 << 6 else ODD
    number = p[at + 1]
    number = number << 24 | p[at + 2] << 16 | p[at + 3] << 8 | p[at + 4]
    return number if number >= 1 << 14 else ODD

# How many bytes a length takes.
cdef inline Py_ssize_t width_of(Py_ssize_t number) noexcept nogil:
    return 1 if number < 1 << 6 else 2 if number < 1 << 14 else 5

# Where the string ends that begins at p[at].
cdef inline Py_ssize_t string_end(const unsigned char *p, Py_ssize_t at, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t first
    if at >= size:
        return CUT
    first = p[at]
    if first < 0x40:
        at += 1 + first
    elif first <= 0x80:
        first = length_at(p, at, size)
        if first < 0:
            return first
        at += first + width_of(first)
    elif 0xC0 <= first <= 0xC2:
        at += 1 + (1 << (first - 0xC0))
    elif first == 0xC3:
        # Two lengths, of one or two bytes each.
        if at + 4 >= size:
            return CUT
        if p[at + 1] >= 0x80:
            return ODD
        first = p[at + 1] if p[at + 1] < 0x40 else (p[at + 1] & 63) << 8 | p[at + 2]
        at += 2 if p[at + 1] < 0x40 else 3
        if p[at] >= 0x80:
            return ODD
        at += first + (1 if p[at] < 0x40 else 2)
    else:
        return ODD
    return at if at <= size else CUT

# Where the bytes of the string begin whose length is at p[at].
cdef inline Py_ssize_t text_begin(const unsigned char *p, Py_ssize_t at) noexcept nogil:
    return at + (1 if p[at] < 0x40 else 2 if p[at] < 0x80 else 5)

# The number that is a string of so many bytes behind p[at].
cdef inline long long number_at(const unsigned char *p, Py_ssize_t at, Py_ssize_t end) noexcept nogil:
    cdef unsigned long long number = 0
    cdef Py_ssize_t i
    if p[end - 1] & 128:
        # All bits above those that are there.
        number = ~number
    for i in range(end - 1, at, -1):
        number = number << 8 | p[i]
    return <long long>number

# The eight bytes at p[at] as a float.
cdef inline double double_at(const unsigned char *p, Py_ssize_t at) noexcept nogil:
    cdef unsigned long long bits = 0
    cdef double number
    cdef Py_ssize_t i
    for i in range(at + 7, at - 1, -1):
        bits = bits << 8 | p[i]
    memcpy(&number, &bits, 8)
    return number
