"""Times as people say them."""


def duration(seconds: float) -> str:
    """A stretch of time.

    >>> [duration(seconds) for seconds in (42, 1800, 3700, 200_000)]
    ['42 s', '30 min', '1 h 1 min', '2 d 7 h']
    """
    minutes, hours = seconds / 60, seconds / 3600
    if minutes < 2:
        return f"{seconds:.0f} s"
    if hours < 1:
        return f"{minutes:.0f} min"
    return f"{int(hours)} h {int(minutes % 60)} min" if hours < 48 else f"{int(hours / 24)} d {int(hours % 24)} h"
