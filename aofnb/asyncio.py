"""``aofnb.asyncio.Redis``: redis-py's asyncio client on a store in this process. Needs redis-py."""

from aofnb.adapters.redis_asyncio import Redis

__all__ = ["Redis"]
