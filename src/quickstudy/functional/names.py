"""How does a name that somebody else chose become safe for where it goes?

Names of classes, files and folders come from outside. One place makes each comparable, printable and writable.
"""

from __future__ import annotations

import re
import unicodedata

_HIDDEN = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))
"""Unicode's categories of what is not drawn but obeyed: controls, formats, surrogates, ends of lines and paragraphs."""
_JOINERS = "\u200c\u200d"
"""Formats that spelling needs: in Persian, in many scripts of India and in emoji."""
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_FORMULA = re.compile(r"[\s\"']*[=+\-@\uff1d\uff0b\uff0d\uff20]")

LONGEST_LABEL = 48
"""Letters of a name that a figure has room for."""


def composed(name: str) -> str:
    """Return a name as it is compared: letters and their accents in one form (Unicode NFC), however they were typed.

    A folder that was copied from a Mac spells 'è' as a letter and an accent, one that was made on Linux as one letter.
    """
    return unicodedata.normalize("NFC", name)


def for_terminal(text: str) -> str:
    r"""Return text in one line that a terminal only draws.

    What a terminal would obey is shown as an escape, such as `\x1b` or `\n`: control characters, marks that turn the
    direction of writing, and ends of lines. Bytes of a file name that are not UTF-8 are shown as `\xe9`.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(each) for each in text)


def for_csv(name: str) -> str:
    """Return a name as a cell of a table that a spreadsheet takes for text, never for a formula.

    A name that would begin a formula gets an apostrophe in front. Plain numbers such as -1 stay as they are. Control
    characters become escapes as in `for_terminal`.
    """
    # What is stripped here may lead a formula, but its escape does not.
    harmless = _NUMBER.fullmatch(name) is not None or _FORMULA.match(name) is None
    shown = for_terminal(name)
    return shown if harmless else f"'{shown}"


def for_json(text: str) -> str:
    r"""Return JSON text with the same values, in which whatever a terminal would obey is an escape such as `\u009b`.

    Ends of lines stay, since they set out the text.
    """
    return "".join(each if each in "\n\t" or not _hidden(each) else _json_escape(each) for each in text)


def for_plot(name: str) -> str:
    r"""Return a name as a label of a figure, which matplotlib draws as it is.

    Else `$` begins a formula, an underscore in front leaves the label out of the legend, and a name of hundreds of
    letters leaves no room for the figure, so its middle is left out.
    """
    shown = for_terminal(name)
    if len(shown) > LONGEST_LABEL:
        shown = f"{shown[: LONGEST_LABEL // 2]}...{shown[-LONGEST_LABEL // 2 :]}"
    shown = shown.replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown


def readable(path: str) -> str:
    r"""Return the name of a file as text that every file and stream can hold.

    Bytes that are not UTF-8, which Python keeps as halves of surrogate pairs, become escapes such as `\xe9`.
    """
    return "".join(_shown(each) if unicodedata.category(each) == "Cs" else each for each in path)


def _hidden(each: str) -> bool:
    return unicodedata.category(each) in _HIDDEN and each not in _JOINERS


def _shown(each: str) -> str:
    if not _hidden(each):
        return each
    if "\udc80" <= each <= "\udcff":  # a byte of a name that is not UTF-8, as Python keeps it
        return f"\\x{ord(each) - 0xDC00:02x}"
    return each.encode("unicode_escape").decode()


def _json_escape(each: str) -> str:
    units = each.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))
