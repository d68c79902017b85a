"""How are the names of classes in files compared and shown?"""

from __future__ import annotations

from quickstudy.functional.names import composed


def legible(name: str) -> str:
    r"""Return the name of a file as that of a class: composed, and without bytes that are no text.

    Names of files are bytes; those that are no UTF-8 reach Python as halves of letters, which cannot be written or
    hashed. They become '\xe9' and the like.
    """
    return composed(name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"))
