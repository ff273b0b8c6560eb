"""The order of things: look up, check, run, propagate, flush. Joins commands with the log."""

from aofnb.engine.core import Engine
from aofnb.engine.session import Pipeline, Session
from aofnb.engine.store import Store, open_store

__all__ = ["Engine", "Pipeline", "Session", "Store", "open_store"]
