"""Bytes on the wire and in the log <-> argument vectors and replies. No files, no data, no time."""
