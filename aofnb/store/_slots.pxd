# What an instance keeps in a place of `__slots__`, read and set where it lies: by name it takes ten times as long.
# The twin in Python is `_slots.py`.

from cpython.object cimport PyObject

cdef extern from *:
    """
    #include "structmember.h"

    /* Where the slot that `member` describes is in its object; -1 if it describes no slot. */
    static Py_ssize_t aofnb_offset(PyObject *member) {
        PyMemberDef *found;
        if (!Py_IS_TYPE(member, &PyMemberDescr_Type)) return -1;
        found = ((PyMemberDescrObject *)member)->d_member;
        return found->type == T_OBJECT_EX ? found->offset : -1;
    }
    #define aofnb_place(object, offset) ((PyObject **)((char *)(object) + (offset)))
    #define aofnb_slot(object, offset) (*aofnb_place(object, offset))
    """
    Py_ssize_t aofnb_offset(PyObject *member)
    PyObject **aofnb_place(PyObject *object, Py_ssize_t offset) nogil
    # Borrowed.
    PyObject *aofnb_slot(PyObject *object, Py_ssize_t offset) nogil
    void Py_INCREF(PyObject *)
    void Py_XDECREF(PyObject *)

# Whoever asks has seen to it that the object is of the class whose slot it is.
cdef inline Py_ssize_t slot_of(object owner, str name) except -1:
    cdef object member = getattr(owner, name)
    cdef Py_ssize_t offset = aofnb_offset(<PyObject *>member)
    if offset < 0:
        raise TypeError(f"{member!r} is no slot")
    return offset

cdef inline object held(object owner, Py_ssize_t slot):
    cdef PyObject *value = aofnb_slot(<PyObject *>owner, slot)
    if value is NULL:
        raise AttributeError(f"{owner!r} has nothing in a slot")
    return <object>value

cdef inline int hold(object owner, Py_ssize_t slot, object value) except -1:
    cdef PyObject **place = aofnb_place(<PyObject *>owner, slot)
    cdef PyObject *old = place[0]
    Py_INCREF(<PyObject *>value)
    place[0] = <PyObject *>value
    Py_XDECREF(old)
    return 0
