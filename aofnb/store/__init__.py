"""Data: keys, values, expiry. No commands, no files."""
