"""CONFIG SET and CONFIG REWRITE: settings that change while the store is open, and the file they are kept in.

Redis: config.c configSetCommand, rewriteConfig (7.0.15).
"""

from __future__ import annotations

import fnmatch
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress

from aofnb.config import Config, Setting
from aofnb.config_file import ConfigFile
from aofnb.errors import ConfigError, ReplyError

__all__ = ["Settings"]

_log = logging.getLogger("aofnb")


class Settings:
    """Changes settings, all that are given or none.

    Attributes
    ----------
    on_change : dict
        By name of a setting: called when it has changed, before anyone is answered. A ConfigError says that the new
        value cannot be; then all values are as before.
    file : ConfigFile or None
        What CONFIG REWRITE writes to.
    server : dict
        What holds of the server that the store is behind, if there is one: ``port``, ``bind``, ``loglevel``, ... CONFIG
        GET shows it, nothing changes it.
    users : callable
        Gives the lines of users that belong into that file.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.on_change: dict[str, Callable[[], None]] = {}
        self.file: ConfigFile | None = None
        self.users: Callable[[], Sequence[str]] = tuple
        self.server: dict[str, str] = {}

    def matching(self, pattern: str) -> dict[str, str]:
        """Name and text of each setting that the glob `pattern` matches, or that it names."""
        found = self.config.matching(pattern)
        wanted = pattern.lower()
        if wanted in self.server:
            return {pattern: self.server[wanted]}
        glob = wanted.replace("[^", "[!")
        return found | {name: text for name, text in self.server.items() if fnmatch.fnmatchcase(name, glob)}

    def set(self, given: dict[str, str]) -> None:
        """Apply all of `given`, or none.

        Raises
        ------
        ReplyError
            With the words of redis-server, naming the setting at fault.
        """
        values: list[tuple[Setting, object]] = []
        for name, text in given.items():
            if name in self.server:
                raise _failed(name, "can't set immutable config")
            try:
                setting = self.config.setting(name)
            except ConfigError:
                raise ReplyError(f"ERR Unknown option or number of arguments for CONFIG SET - '{name}'") from None
            if not setting.runtime:
                raise _failed(name, "can't set immutable config")
            if setting.protected:
                raise _failed(name, "can't set protected config")
            if any(setting is other for other, _ in values):
                raise _failed(name, "duplicate parameter")
            try:
                values.append((setting, setting.parse(text)))
            except ConfigError as problem:
                raise _failed(name, str(problem)) from None
        self._apply(values)

    def _apply(self, values: list[tuple[Setting, object]]) -> None:
        before = [(setting, getattr(self.config, setting.attribute)) for setting, _ in values]
        changed = [setting for (setting, value), (_, old) in zip(values, before, strict=True) if value != old]
        for setting, value in values:
            setattr(self.config, setting.attribute, value)
        for number, setting in enumerate(changed):
            try:
                self.on_change.get(setting.name, _nothing)()
            except ConfigError as problem:
                for old_setting, old in before:
                    setattr(self.config, old_setting.attribute, old)
                for undone in changed[:number]:
                    # What could be as it was a moment ago can be so again; if not, that is told where it shows.
                    with suppress(ConfigError):
                        self.on_change.get(undone.name, _nothing)()
                raise _failed(setting.name, str(problem)) from problem

    def rewrite(self) -> None:
        """CONFIG REWRITE: bring the settings file up to date.

        Raises
        ------
        ReplyError
            There is none, or it cannot be written.
        """
        if self.file is None:
            raise ReplyError("ERR The server is running without a config file")
        try:
            self.file.rewrite(self.config, self.users())
        except OSError as problem:
            _log.warning("CONFIG REWRITE failed: %s", problem)
            raise ReplyError(f"ERR Rewriting config file: {problem.strerror}") from problem
        _log.info("CONFIG REWRITE executed with success.")


def _nothing() -> None:
    """For settings that are asked for whenever they matter."""


def _failed(name: str, why: str) -> ReplyError:
    return ReplyError(f"ERR CONFIG SET failed (possibly related to argument '{name}') - {why}")
