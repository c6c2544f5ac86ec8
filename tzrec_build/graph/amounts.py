"""Bytes and seconds as a person reads them."""

from __future__ import annotations

_UNITS = ("B", "kB", "MB", "GB", "TB")


def size_text(count: int, digits: int = 1) -> str:
    """Bytes for a person, in powers of 1000.

    >>> size_text(12_345_678)
    '12.3 MB'
    >>> size_text(999)
    '999 B'
    """
    power = min((len(str(count)) - 1) // 3, len(_UNITS) - 1)
    return f"{count} B" if power == 0 else f"{count / 1000**power:.{digits}f} {_UNITS[power]}"


def duration_text(seconds: float) -> str:
    """Seconds for a person.

    >>> [duration_text(s) for s in (0.04, 3.21, 200.0, 7260.0, 190_000.0)]
    ['0.1 s', '3.2 s', '3 min 20 s', '2 h 1 min', '2 d 4 h']
    """
    if seconds < 60:
        return f"{max(seconds, 0.1):.1f} s"
    whole = round(seconds)
    for size, unit, next_size, next_unit in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // next_size
            return f"{whole // size} {unit}" + (f" {rest} {next_unit}" if rest else "")
    raise RuntimeError(f"bug: {seconds} s is under a minute and was not shown as such")


def about_text(seconds: float) -> str:
    """A time that is only known roughly.

    >>> about_text(8), about_text(100), about_text(5400), about_text(30), about_text(400_000)
    ('8 s', '2 min', '1.5 h', '30 s', '4.6 d')
    """
    if seconds < 60:
        return f"{max(round(seconds), 1)} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h" if seconds < 86_400 * 2 else f"{seconds / 86_400:.1f} d"


def clock_text(seconds: float) -> str:
    """Elapsed time as a person reads it while it runs.

    >>> clock_text(4.2), clock_text(83), clock_text(7384), clock_text(200_000)
    ('4 s', '1:23', '2:03:04', '2 d 7:33')
    """
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, second = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}:{second:02}"
    hours, minute = divmod(minutes, 60)
    if hours < 24:
        return f"{hours}:{minute:02}:{second:02}"
    return f"{hours // 24} d {hours % 24}:{minute:02}"
