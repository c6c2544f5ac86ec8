"""Which values a label column may hold: the losses that read it decide."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tzrec_build.data.row_errors import ColumnError


@dataclass(frozen=True, slots=True)
class LabelRange:
    """Values that a label may have, all finite ones by default.

    Args:
        low: smallest.
        high: largest.
        whole: only whole numbers (classes).
        asked_by: the losses that ask for it, for the message.
    """

    low: float = -math.inf
    high: float = math.inf
    whole: bool = False
    asked_by: str = ""

    def meet(self, other: LabelRange) -> LabelRange:
        """What both allow: two losses may read one label.

        >>> LabelRange(0, 1, asked_by="a").meet(LabelRange(0, 4, whole=True, asked_by="b"))
        LabelRange(low=0, high=1, whole=True, asked_by='a and b')
        """
        names = dict.fromkeys(name for name in (self.asked_by, other.asked_by) if name)
        return LabelRange(
            max(self.low, other.low), min(self.high, other.high), self.whole or other.whole, " and ".join(names)
        )

    def check(self, name: str, values: npt.NDArray[np.generic]) -> None:
        """Refuse the first value outside.

        Args:
            name: column, for the message.
            values: finite numbers [B].
        Raises:
            ColumnError: knows the row.
        """
        inside = (values >= self.low) & (values <= self.high)  # type: ignore[operator]  # numbers
        if self.whole:
            inside &= values == np.floor(values)
        if not inside.all():
            row = int(inside.argmin())
            raise ColumnError(name, f"a label must be {self}, got {values[row]:g}; mend the table or the loss", row)

    def __str__(self) -> str:
        """In words.

        >>> str(LabelRange(0, 2, whole=True, asked_by="softmax_cross_entropy"))
        'a whole number in [0, 3) for softmax_cross_entropy'
        """
        end = f"{self.high + 1:g})" if self.whole else f"{self.high:g}]"
        kind = "a whole number in" if self.whole else "in"
        return f"{kind} [{self.low:g}, {end}" + (f" for {self.asked_by}" if self.asked_by else "")
