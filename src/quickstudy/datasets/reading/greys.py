"""How do 16-bit, 32-bit and floating greys become 8 bits?"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from quickstudy.errors import DataError, InputError

_TOP_16, _TOP_FLOAT = 65535.0, 1.0
_LEAST_SHARE = 1 / 16


class Greys:
    """One rule for all wide images of a data set, which never looks at a single image's largest value.

    Black is 0. White is the greatest value of the kind: 65535 of 16 and 32 bits, 1.0 of floats. Files of 12-bit
    cameras, thermal cameras and the like use other ranges without saying so: give `white` for these. Values outside
    0..white are refused.

    Args:
        white: value that becomes white; None takes that of the kind.

    Raises:
        InputError: `white` is not a positive number.
    """

    def __init__(self, white: float | None = None) -> None:
        if white is not None and not 0 < white < float("inf"):
            raise InputError(f"white must be a positive number, not {white}")
        self.white = white
        self._share = 0.0
        self._example = ""

    def to_bytes(self, values: NDArray[Any], mode: str, where: str) -> NDArray[np.uint8]:
        """Return greys of PIL's mode 'I;16', 'I' or 'F' as 8 bits.

        Raises:
            DataError: a value lies outside the range; the message says what to do.
        """
        white = self.white or (_TOP_FLOAT if mode == "F" else _TOP_16)
        low, high = float(values.min(initial=0)), float(values.max(initial=0))
        # A float of 32 bits may be above what rounds to it; NaN is neither.
        if not (low >= 0 and high <= white * (1 + 1e-6)):
            raise DataError(
                f"image {where} holds values from {low:g} to {high:g}, outside 0..{white:g}; give white=..., the value "
                "that is white, or convert it to 8 bits a channel"
            )
        self._note(high / white, where)
        if mode.startswith("I;16"):
            # A table of all values takes the place of floating copies.
            table = np.rint(np.minimum(np.arange(65536), white) / (white / 255)).astype(np.uint8)
            found: NDArray[np.uint8] = table[values]
            return found
        return np.rint(np.minimum(values.astype(np.float64), white) / (white / 255)).astype(np.uint8)

    def note_colours(self, image: Image.Image, where: str) -> None:
        """Note the largest value of a colour image of 16 bits, of which PIL reads the upper 8.

        Raises:
            DataError: `white` is given: the lower 8 bits are gone.
        """
        if self.white not in (None, _TOP_16):
            raise DataError(f"image {where} has 16-bit colours, whose white cannot be chosen; convert it to 8 bits")
        extrema: Any = image.getextrema()
        highest = max(high for _, high in extrema[:3]) if isinstance(extrema[0], tuple) else extrema[1]
        self._note(highest / 255, where)

    def check(self, where: str) -> None:
        """Refuse images that use a sixteenth of their range or less: in 8 bits, they would be almost black.

        Called once for all images of a data set.

        Raises:
            DataError: they do, and `white` was not given.
        """
        if self.white is None and self._example and 0 < self._share <= _LEAST_SHARE:
            raise DataError(
                f"the 16-bit or floating images of {where}, such as '{self._example}', are almost black: none uses "
                f"more than {self._share:.2%} of its range; give white=..., the value that is white (4095 of 12 bits)"
            )

    def _note(self, share: float, where: str) -> None:
        self._share, self._example = max(self._share, share), self._example or where
