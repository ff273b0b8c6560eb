"""What a store lives through in a trial: commands, transactions, several databases, deadlines, rewrites, restarts.

Every unit changes the data in a way that no other unit does, so that what is recovered says how many there were.
"""

from __future__ import annotations

import random

from aofnb.lab.crash import Trial

__all__ = ["everyday"]


def everyday(trial: Trial, rng: random.Random, turns: int) -> None:
    """`turns` turns of all kinds in an order that `rng` draws, with time passing in between."""
    for i in range(turns):
        kind = rng.choice(["transaction", "command", "pipeline", "database", "deadline", "rewrite", "long rewrite"])
        if kind == "transaction":
            trial.turn([("INCR", "n"), ("RPUSH", "list", f"item {i}")])
        elif kind == "command":
            trial.turn([("INCR", "n")])
        elif kind == "pipeline":
            trial.turn([("INCR", "n")], [("INCR", "n"), ("SADD", "set", i)], [("APPEND", "text", f"{i} ")])
        elif kind == "database":
            trial.turn([("SELECT", 1)], [("INCR", "n")], [("SELECT", 0)])
        elif kind == "deadline":
            trial.turn([("INCR", "n"), ("SET", "t", "x", "PX", 700)])
        elif kind == "rewrite":
            trial.set_base_form(rng.choice(["rdb", "aof"]))
            trial.rewrite()
        else:
            trial.rewrite_while(lambda: trial.turn([("INCR", "n"), ("RPUSH", "list", "meanwhile")]))
        if rng.random() < 0.4:
            trial.wait(0.5)
