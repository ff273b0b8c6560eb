from aofnb.store._table_cy cimport Table
