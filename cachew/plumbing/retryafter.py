"""For how long a server asks to be left alone (pure; RFC 9110, section 10.2.3)."""

_MOST_DIGITS = 9


def asked_wait(value: str, date: str) -> "float | None":
    """Return the seconds that a ``Retry-After`` asks for, None when it doesn't say.

    A date in it is compared with the answer's own ``Date``, so that no clock here matters.

    :param value: the header's.
    :param date: that of ``Date``, empty when there is none.
    """
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value[:_MOST_DIGITS])
    if not value or not date:
        return None
    from email.utils import parsedate_to_datetime  # which those who are told seconds need not wait for

    try:
        wait = parsedate_to_datetime(value) - parsedate_to_datetime(date)
    except (ValueError, TypeError, OverflowError):
        return None
    return max(wait.total_seconds(), 0.0)
