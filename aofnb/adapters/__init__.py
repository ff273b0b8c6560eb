"""Other ways in and out: redis-py in process, a socket for any client, a real server behind the same calls.

`redis_py` and `redis_asyncio` are redis-py's own classes on a store; `server` serves a store on a socket, `serve` does
so in the foreground; `remote` gives a real server a store's face; `push` moves data there; `replication` feeds real
replicas. redis-py is imported only where it is needed.
"""
