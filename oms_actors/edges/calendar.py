"""Holidays by exchange code (ISO 10383 MIC: XNSE, XBOM, XNYS, XLON, ...), from the `holidays` library.

The library knows full closing days only; half days, late opens and special sessions are the configuration's date
overrides, which win. It is imported when it is asked, so that processes without a schedule do not pay for it. Its
dates of moon-sighted feasts are estimates until the exchange announces them, and their names say so.
"""

from collections.abc import Iterable
from datetime import date

from oms_actors.errors import ConfigError


def holidays_of(exchange: str, years: Iterable[int]) -> dict[date, str]:
    """The closed dates of an exchange with their names, in order; ConfigError names an unknown code."""
    import holidays

    try:
        found = holidays.financial_holidays(exchange, years=sorted(set(years)))
    except NotImplementedError:
        codes = ", ".join(known_exchanges())
        raise ConfigError([f"calendar: exchange {exchange!r} is unknown; known are {codes}"]) from None
    return {day: found[day] for day in sorted(found)}


def known_exchanges() -> list[str]:
    """The codes `holidays_of` accepts."""
    import holidays

    return sorted(holidays.list_supported_financial())
