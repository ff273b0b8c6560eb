"""The error texts of redis-server 7.0.15, word for word.

One place, so that a text is spelled once and a test can compare all of them with the server.
"""

from __future__ import annotations

from collections.abc import Sequence

from aofnb.errors import ReplyError

__all__ = [
    "NOT_AN_INTEGER",
    "NOT_A_FLOAT",
    "NO_SUCH_KEY",
    "OUT_OF_MEMORY",
    "OUT_OF_RANGE",
    "SYNTAX_ERROR",
    "MisusedSubcommandError",
    "error",
    "help_lines",
    "shown",
    "unknown_command",
    "unknown_subcommand",
    "wrong_arity",
]

SYNTAX_ERROR = "ERR syntax error"
NOT_AN_INTEGER = "ERR value is not an integer or out of range"
NOT_A_FLOAT = "ERR value is not a valid float"
STRING_TOO_LONG = "ERR string exceeds maximum allowed size (proto-max-bulk-len)"
OUT_OF_RANGE = "ERR index out of range"
NO_SUCH_KEY = "ERR no such key"
OUT_OF_MEMORY = "OOM command not allowed when used memory > 'maxmemory'."


def error(text: str) -> ReplyError:
    """An error reply with `text`, its code included: one line, whatever an argument brought into it."""
    return ReplyError(text.strip("\r\n").replace("\r", " ").replace("\n", " "))


def wrong_arity(wire_name: str) -> ReplyError:
    return ReplyError(f"ERR wrong number of arguments for '{wire_name}' command")


def help_lines(container: str, *lines: str) -> list[str]:
    """The reply of ``CONTAINER HELP``; `lines` are the subcommands in the server's words."""
    return [
        f"{container} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        *lines,
        "HELP",
        "    Prints this help.",
    ]


def unknown_command(argv: Sequence[bytes]) -> ReplyError:
    # Redis shows at most 128 characters of the name and stops adding arguments after 128 in all.
    name = shown(argv[0][:128])
    args = ""
    for arg in argv[1:]:
        if len(args) >= 128:
            break
        args += f"'{shown(arg[: 128 - len(args)])}' "
    return error(f"ERR unknown command '{name}', with args beginning with: {args}")


def unknown_subcommand(container: str, sub: bytes) -> ReplyError:
    return error(f"ERR unknown subcommand '{shown(sub[:128])}'. Try {container.upper()} HELP.")


class MisusedSubcommandError(ReplyError):
    """What containers say of a subcommand that they know, with arguments that they do not."""

    def __init__(self, sub: str, container: str) -> None:
        super().__init__(f"ERR unknown subcommand or wrong number of arguments for '{sub}'. Try {container} HELP.")
        self._container = container

    def spelled(self, sub: bytes) -> MisusedSubcommandError:
        """The same with the subcommand as it was typed, which a handler does not see."""
        return MisusedSubcommandError(shown(sub[:128]), self._container)


def shown(text: bytes) -> str:
    """An argument inside an error text (see `error`), as C prints it: up to a zero byte."""
    return text.partition(b"\0")[0].decode("utf-8", "surrogateescape")
