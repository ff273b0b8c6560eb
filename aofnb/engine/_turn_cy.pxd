from aofnb.store._table_cy cimport Table
from aofnb.store._slots cimport held, hold, slot_of
