# Types of the kernel's names.
cdef enum:
    SLOTS = 65536

# By hash of three bytes: the newest place where they are, counted through all strings; and at last where the next string
# begins in that count.
cdef long long NEWEST[65537]
