"""Numbers as the report writes them."""

from __future__ import annotations

import math

NOT_AVAILABLE = "–"
"""Stands for True for None and NaN."""

_MINUS = "−"
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_SMALLEST_PLAIN, _LARGEST_PLAIN = 1e-3, 1e6


def is_missing(value: object) -> bool:
    """True for None and NaN."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def number(value: float | None, *, digits: int = 3) -> str:
    """With `digits` significant digits; whole numbers whole, very large and small ones as a power of ten."""
    if value is None or is_missing(value):
        return NOT_AVAILABLE
    if isinstance(value, int):
        return str(value).replace("-", _MINUS)
    size = abs(value)
    if math.isinf(value):
        text = "∞"
    elif size == 0:
        text = "0"
    elif _SMALLEST_PLAIN <= size < _LARGEST_PLAIN:
        text = f"{size:.{_decimals(size, digits)}f}"
    else:
        mantissa, exponent = f"{size:.{digits - 1}e}".split("e")
        text = f"{mantissa}×10{str(int(exponent)).translate(_SUPERSCRIPTS)}"
    return f"{_MINUS}{text}" if value < 0 else text


def given(value: float) -> str:
    """A number that somebody chose, as they would write it."""
    return f"{value:g}".replace("-", _MINUS)


def count(value: int) -> str:
    """With narrow spaces between the thousands."""
    return f"{value:,}".replace(",", "\u202f")


def effect(value: float, low: float, high: float, *, unit: str = "") -> tuple[str, str]:
    """An effect with its sign (a ratio, with the unit x, has none), and its interval to the same decimal.

    The interval is empty where there is none.
    """
    finite = [abs(part) for part in (value, low, high) if math.isfinite(part)]
    largest = max(finite, default=0.0)
    if is_missing(value):
        return NOT_AVAILABLE, ""
    if not _SMALLEST_PLAIN <= largest < _LARGEST_PLAIN:
        written = [number(part) for part in (value, low, high)]
    else:
        decimals = _decimals(largest, 3)
        written = [_fixed(part, decimals) for part in (value, low, high)]
    is_shown_as_zero = not any(digit in written[0] for digit in "123456789∞")
    has_plus = value > 0 and not is_shown_as_zero and unit != "x"
    signed = f"+{written[0]}" if has_plus else written[0]
    return signed, "" if is_missing(low) or is_missing(high) else f"[{written[1]}, {written[2]}]"


def duration(seconds: float | None) -> str:
    """A duration in seconds, minutes or hours, whichever fits."""
    if seconds is None or is_missing(seconds):
        return NOT_AVAILABLE
    if seconds < 60:
        return f"{number(float(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        whole, rest = divmod(round(seconds), 60)
        return f"{whole} min {rest:02d} s"
    hours, rest = divmod(minutes, 60)
    return f"{count(hours)} h {rest:02d} min"


def _decimals(size: float, digits: int) -> int:
    """Decimals that give `digits` significant digits, after rounding: 9.996 has 2, not 3."""
    exponent = int(f"{size:.{digits - 1}e}".split("e")[1])
    return max(0, digits - 1 - exponent)


def _fixed(value: float, decimals: int) -> str:
    if is_missing(value) or math.isinf(value):
        return number(value)
    text = f"{abs(value):.{decimals}f}"
    return f"{_MINUS}{text}" if value < 0 and float(text) else text
