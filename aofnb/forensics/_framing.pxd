# What kernels find at a place of a log: headers, annotations, names. Inline, since each is asked for every command.
# The twin in Python is `_framing.py`.

# Header of that kind at p[at]: its number, shifted by 8, and how many bytes it has; negative if there is none.
cdef inline long long header_at(const unsigned char *p, Py_ssize_t at, Py_ssize_t size, unsigned char kind) noexcept nogil:
    cdef Py_ssize_t i = at + 1
    cdef long long number = 0, tens, ones
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

# The end of the annotation that begins at p[pos], its line end not counted; negative if it is not in order.
cdef inline Py_ssize_t annotation_end(const unsigned char *p, Py_ssize_t pos, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t end = pos, longest = 1021
    while end < size and p[end] != 10 and end - pos <= longest + 1:
        end += 1
    if end >= size or p[end] != 10 or p[end - 1] != 13 or end - 1 - pos > longest:
        return -1
    return end - 1

# The time that the annotation from p[pos] to p[end] tells, as `scan` has it; negative if it tells none.
cdef inline long long seconds_at(const unsigned char *p, Py_ssize_t pos, Py_ssize_t end) noexcept nogil:
    cdef Py_ssize_t i
    cdef long long seconds = 0
    if not 5 <= end - pos <= 16 or p[pos + 1] != 84 or p[pos + 2] != 83 or p[pos + 3] != 58:
        return -1
    for i in range(pos + 4, end):
        if not 48 <= p[i] <= 57:
            return -1
        seconds = seconds * 10 + (p[i] - 48)
    return seconds if seconds <= 253402300799LL else -1

# What a SELECT selects whose arguments begin at p[at] and end before p[end]; negative if that cannot be.
cdef inline long long database_at(const unsigned char *p, Py_ssize_t at, Py_ssize_t end) noexcept nogil:
    cdef Py_ssize_t i
    cdef long long header, number = 0
    if at == end:
        return -1
    header = header_at(p, at, end, 36)
    at += header & 255
    if not 1 <= header >> 8 <= 5 or at + (header >> 8) + 2 != end:
        return -1
    for i in range(at, end - 2):
        if not 48 <= p[i] <= 57:
            return -1
        number = number * 10 + (p[i] - 48)
    return number if number <= 32767 else -1

# `count` bytes as one number, at most eight, the first the lowest; 0 for none. Past `whole` there are no eight to take.
cdef inline unsigned long long word_at(const unsigned char *p, Py_ssize_t at, long long count, Py_ssize_t whole) noexcept nogil:
    cdef unsigned long long word = 0
    cdef const unsigned char *q = p + at
    if 0 < count <= 8 and at <= whole:
        # Of a pointer to the first, compilers make one load.
        word = (
            <unsigned long long>q[0]
            | <unsigned long long>q[1] << 8
            | <unsigned long long>q[2] << 16
            | <unsigned long long>q[3] << 24
            | <unsigned long long>q[4] << 32
            | <unsigned long long>q[5] << 40
            | <unsigned long long>q[6] << 48
            | <unsigned long long>q[7] << 56
        )
        return word & ((1ULL << (8 * count - 1)) - 1) * 2 + 1
    while count > 0:
        count -= 1
        word = word << 8 | q[count]
    return word

# The place of a name, as two words, in a table of so many slots, a power of two.
cdef inline long long slot_of(unsigned long long low, unsigned long long high, long long slots) noexcept nogil:
    cdef unsigned long long mixed = low ^ (low >> 11) ^ (low >> 23) ^ (low >> 37) ^ (low >> 49) ^ high ^ (high >> 13)
    return mixed & (slots - 1)
