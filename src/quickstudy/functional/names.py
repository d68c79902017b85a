"""How does a name that somebody else chose become safe for where it goes?

Names of classes, files and folders come from outside. One place makes each comparable, printable and writable.
"""

from __future__ import annotations

import unicodedata


def composed(name: str) -> str:
    """Return a name as it is compared: letters and their accents in one form (Unicode NFC), however they were typed.

    A folder that was copied from a Mac spells 'è' as a letter and an accent, one that was made on Linux as one letter.
    """
    return unicodedata.normalize("NFC", name)
