"""The random numbers of scripts: the same sequence as on a server, from the same seed.

Redis: rand.c redisLrand48, redisSrand48 (the algorithm of lrand48), script_lua.c redis_math_random (7.0.15).
"""

from __future__ import annotations

__all__ = ["Lrand48"]

_MULTIPLIER, _ADDEND, _MASK = 0x5DEECE66D, 0xB, (1 << 48) - 1
_MAX = (1 << 31) - 1


class Lrand48:
    """48 bits of state; each number is its upper 31.

    >>> chance = Lrand48()
    >>> chance.seed(0)
    >>> chance.number(), chance.number()
    (366850414, 1610402240)
    """

    def __init__(self) -> None:
        # The state that a server starts with.
        self._state = 0x1234ABCD330E

    def seed(self, seed: int) -> None:
        """Begin the sequence that belongs to the low 32 bits of `seed`."""
        self._state = (seed & 0xFFFFFFFF) << 16 | 0x330E

    def number(self) -> int:
        """The next number, from 0 to 2**31 - 1."""
        self._state = (self._state * _MULTIPLIER + _ADDEND) & _MASK
        return self._state >> 17

    def fraction(self) -> float:
        """The next number, from 0 to below 1."""
        return (self.number() % _MAX) / _MAX
