"""Numbers as exact fractions of integers, and their rounding."""
import math
import struct

import numpy as np

DIGITS = {"float32": (24, -149, 128), "float64": (53, -1074, 1024)}


def of_text(text):
    """Returns the sign, numerator and denominator of a JSON number."""
    negative = text.startswith("-")
    mantissa, _, exponent = text.lstrip("-").lower().partition("e")
    whole, _, fraction = mantissa.partition(".")
    shift = int(exponent or 0) - len(fraction)
    top = int(whole + fraction)
    if top == 0:
        return negative, 0, 1
    return (negative, top * 10**shift, 1) if shift >= 0 else (negative, top, 10**-shift)


def of_number(value):
    """Returns the sign, numerator and denominator of an int or a finite float."""
    if isinstance(value, int):
        return value < 0, abs(value), 1
    top, bottom = abs(value).as_integer_ratio()
    return math.copysign(1, value) < 0, top, bottom


def rounded(number, dtype):
    """Returns the nearest value of dtype, half to even, or None if the number is too large, or if an
    int64 would not be whole."""
    negative, top, bottom = number
    if dtype == "int64":
        whole, rest = divmod(top, bottom)
        value = -whole if negative else whole
        return np.int64(value) if rest == 0 and -(2**63) <= value < 2**63 else None
    digits, least, most = DIGITS[dtype]
    value = 0.0
    if top:
        # 2^exponent <= top / bottom < 2^(exponent + 2), so digits + 2 bits leave one to spare.
        exponent = max(top.bit_length() - bottom.bit_length() - 1, least + digits - 2)
        unit = max(exponent - digits, least - 2)
        near, rest = divmod(top << max(-unit, 0), bottom << max(unit, 0))
        # near has more bits than dtype holds: cut the extra ones, and round by them.
        extra = max(near.bit_length() - digits, least - unit, 0)
        low = near & ((1 << extra) - 1)
        near >>= extra
        half = 1 << extra >> 1
        if extra and (low > half or low == half and (rest or near & 1)):
            near += 1
        if near and near.bit_length() + extra + unit > most:
            return None
        value = math.ldexp(near, extra + unit)
    value = -value if negative else value
    return np.float32(value) if dtype == "float32" else np.float64(value)


def bits(value):
    """Returns a float64's bits; all NaNs have the same."""
    return "nan" if math.isnan(value) else struct.pack(">d", value).hex()
