"""The append-only log on disk: aof_buf, write, fsync, manifest, load, rewrite, check.

This package knows files and records; what a command means it does not know. The engine joins it with the data.
"""
