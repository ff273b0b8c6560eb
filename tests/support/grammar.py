"""The arguments that COMMAND DOCS of a server describes, in the spelling of `aofnb.magics.grammar`."""

from __future__ import annotations

from typing import Any

__all__ = ["grammar"]


def grammar(arguments: list[dict[str, Any]]) -> str:
    return " ".join(map(_one, arguments))


def _one(argument: dict[str, Any]) -> str:
    kind, token, flags = argument["type"], argument.get("token"), argument.get("flags", [])
    optional, multiple = "optional" in flags, "multiple" in flags
    if kind == "pure-token":
        text = token
    elif kind == "oneof":
        text = " | ".join(map(_one, argument["arguments"]))
        if token or multiple or not optional:
            text = f"<{text}>"
    elif kind == "block":
        text = grammar(argument["arguments"])
    else:
        text = argument["name"].replace("_", "-").lower()
    again = text
    if token and kind != "pure-token":
        text = f"{token} {text}"
        if "multiple_token" in flags:
            again = text
    if multiple and optional and again == text:
        return f"[{text} ...]"
    if multiple:
        text = f"{text} [{again} ...]"
    return f"[{text}]" if optional else text
