"""Lua for scripts and function libraries: a sandbox with the libraries that Redis gives its scripts.

Knows values and Lua, no commands, data or files: what a script asks of the store goes through the `Host` that the
caller gives. The only place that imports lupa, and only when a script is first needed.
"""
