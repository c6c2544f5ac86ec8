"""Data errors that know their column and row inside a slice, so that the loader can name file and table row."""

from __future__ import annotations

from tzrec_build.errors import DataError


class ColumnError(DataError):
    """A column of a slice holds something that the config does not allow.

    Args:
        column: name of the column.
        rule: what was expected and what was found, ``must be in [0, 50), got 73``.
        row: first offending row inside the slice, or None when the whole column is of the wrong type.
    """

    def __init__(self, column: str, rule: str, row: int | None = None) -> None:
        place = f"column {column!r}" if row is None else f"row {row} of the batch, column {column!r}"
        super().__init__(f"{place}: {rule}")
        self.column = column
        self.rule = rule
        self.row = row

    def at(self, file: str, file_row: int | None) -> DataError:
        """The same error with the place in the table instead of the place in the slice.

        Args:
            file: path of the file as the user wrote it.
            file_row: 0-based row of that file, or None when the whole column is meant.
        """
        row = "" if file_row is None else f"row {file_row}, "
        return DataError(f"{file}: {row}column {self.column!r}: {self.rule}")
