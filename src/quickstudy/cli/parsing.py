"""How do arguments become a subcommand, and a mistake in them one line that says what was meant?"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import re
import typing
from collections.abc import Sequence
from typing import Any

import tyro

from quickstudy.errors import InputError, UsageError, unknown_name


def parsed(made: type, command: str, args: Sequence[str], description: str | None = None) -> Any:
    """Return the subcommand, a dataclass, that arguments describe.

    Args:
        made: the dataclass; its fields are the options.
        command: words after `quickstudy` that call it.
        args: the arguments.
        description: of its help; None takes the docstring.

    Raises:
        UsageError: the arguments are wrong. tyro's own words, a box, become a line in the style of all other errors.
        SystemExit: help was asked for and printed.
    """
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(made, prog=f"quickstudy {command}", description=description, args=args)
    except SystemExit as end:
        if not end.code:
            raise
        raise UsageError(_in_a_line(complaint.getvalue(), made, args), command) from None


def options(made: type) -> dict[str, str]:
    """Return the options of a subcommand, such as '--run-dir', by the names of its fields and of those in them."""
    found: dict[str, str] = {}
    for field in dataclasses.fields(made):
        nested: Any = field.default_factory if dataclasses.is_dataclass(field.default_factory) else None
        if nested is not None:
            found |= options(nested)
        else:
            found[field.name] = f"--{field.name.replace('_', '-')}"
    return found


def _in_a_line(box: str, made: type, args: Sequence[str]) -> str:
    """Return what a box of tyro's says."""
    unknown = _unknown(made, args)
    if unknown:
        return unknown
    plain = re.sub(r"\x1b\[[0-9;]*m", "", box)
    # Where the output cannot draw lines, tyro leaves out those at the sides, and makes the others of hyphens.
    rows = [row[2:].rstrip(" │") for row in plain.splitlines()[1:] if not row.startswith("╰")]
    rows = rows[1:] if rows and set(rows[0]) == {"-"} else rows
    body = re.split(" (?:─────|-----)", " ".join(row.strip() for row in rows))[0].strip()
    choice = re.search(r"invalid choice '(.*)' for argument '(.*?)'\. Expected one of \((.*?)\)", body)
    if choice:
        name, field, choices = choice.groups()
        return str(unknown_name(field, name, re.findall("'([^']+)'", choices)))
    if body.startswith("Missing from"):
        missing = (row.strip() for row in rows[1:] if re.match(r" {4}\S", row) and "quickstudy" not in row)
        return f"missing: {', '.join(missing)}"
    option = re.search(r"(?:argument '|Error parsing )(--[\w-]+)", body)
    where = option[1] if option else "the arguments"
    if body.startswith("Missing value"):
        return f"{where} needs a value"
    for kind, pattern in (("whole number", "base 10: ('.*?')"), ("number", "to float: ('.*?')")):
        given = re.search(pattern, body)
        if given:
            return f"{where}: {given[1]} is no {kind}"
    surplus = re.match("Unrecognized options: (.*)", body)
    return f"'{surplus[1]}' is one argument too many" if surplus else f"{where}: {body or 'not understood'}"


def _unknown(made: type, args: Sequence[str]) -> str:
    """Return what to say about the first option that a subcommand does not have, or nothing."""
    positional = [name for name, kind in _hints(made).items() if tyro.conf.Positional in _marks(kind)]
    known = [option for field, option in options(made).items() if field not in positional]
    allowed = {"--help", *known, *(f"--no-{each[2:]}" for each in known)}
    for each in args:
        name = each.partition("=")[0].replace("_", "-")
        if name.startswith("--") and name not in allowed:
            return str(unknown_name("option", name, known))
    return ""


def _hints(made: type) -> dict[str, Any]:
    # The options of a recipe are all named; its own module may know types that only a type checker imports.
    own = made if made.__module__.startswith("quickstudy.cli") else object
    return typing.get_type_hints(own, include_extras=True)


def _marks(kind: Any) -> tuple[Any, ...]:
    return getattr(kind, "__metadata__", ())


def option_error(error: InputError, made: type, args: Sequence[str], command: str) -> InputError | UsageError:
    """Return an error as one of the command line, if it is about an option that was given.

    What the library refuses names the argument; where the user gave it, it is his option that is wrong.
    """
    given = {each.partition("=")[0].replace("_", "-") for each in args if each.startswith("--")}
    message = str(error)
    for field, option in sorted(options(made).items(), key=lambda item: -len(item[0])):
        if not given & {option, f"--no-{option[2:]}"}:
            continue
        if re.search(rf"(?<![\w-]){option}(?![\w-])", message):
            return UsageError(message, command)
        # What a message is about stands at its beginning, or has its value with it.
        about = re.search(rf"^(?:unknown )?{field}\b(?!\w)|\b{field}=", message)
        if about:
            return UsageError(
                message[: about.start()] + about[0].replace(field, option) + message[about.end() :], command
            )
    return error
