from aofnb.adapters._peer_cy cimport Peer
from aofnb.store._table_cy cimport Table
