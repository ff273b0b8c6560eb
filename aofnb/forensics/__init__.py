"""Logs as data: one row per command, where each is in the files, and what became of it.

Reads what Redis, Valkey and we write, also when it is damaged; runs nothing, writes nothing.
"""

from __future__ import annotations

from aofnb.forensics import accessor
from aofnb.forensics.frame import read_aof
from aofnb.forensics.log import Log, scan

__all__ = ["Log", "read_aof", "scan"]

accessor.register()
