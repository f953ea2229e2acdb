"""Recent: the regular expression of a timestamp that is surely young enough, by its first digits.

It says no to some that would do, so that it changes seldom: `event.check` judges those.
"""

from __future__ import annotations

from typing import Final

ANY_TIME: Final = '"(?:[0-9]{1,9}|[0-3][0-9]{9})"'  # up to 2096
DIGITS: Final = 10
AGE_PARTS: Final = 4  # the unit in which times are told apart is less than such a part of the age allowed


def times_since(second: int, *, now: int) -> str:
    """Ten digits that begin as a time does from the next whole unit on, which is a power of ten."""
    unit_digits = len(str(max(1, (now - second) // AGE_PARTS))) - 1
    first = str(-(-second // 10**unit_digits)).zfill(DIGITS - unit_digits)
    beginnings = [first]
    for at, digit in enumerate(first):
        greatest = "3" if at == 0 else "9"  # as in ANY_TIME
        if digit < greatest:
            beginnings.append(f"{first[:at]}[{int(digit) + 1}-{greatest}]" + "[0-9]" * (len(first) - at - 1))
    return f'"(?:{"|".join(reversed(beginnings))})[0-9]{{{unit_digits}}}"'
