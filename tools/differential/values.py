"""Random values of features, as people and machines write them.

A cell is (kind, value):
  number, its JSON text        text, a str          truth, a bool
  null, None                   absent, None         literal, NaN or Infinity
  wrong, JSON of another type
"""
import math
import struct

import exact

NUMERIC = ("float32", "float64", "int64")
# Surrogates, which UTF-8 cannot have, are left out. NUL is included; hosts refuse it.
ALPHABET = ["a", "b", "Z", "0", " ", "é", "ß", "東", "京", "🙂", "\u0301", "\u2028", "\ufeff", "\ufffd", '"', "\\", "/", ",", ";", "\t", "\n", "\r", "\r\n", "'", "{", "]", "<", "&"]
TEXTS = ["a", "b", "c", "null", "nan", "NA", "true", "1", "-0", "1e3", "Ünï", "straße", "STRASSE", "東京", "🙂🙂", " a", "a ", "a,b", 'say "a"', "a\r\nb", "\\u0041", "x" * 300]
LIMITS = [0, 1, -1, 2**31, -(2**31) - 1, 2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63), 2**63 - 512, 10**18, 9007199254740993]
FLOATS = [0.0, -0.0, 0.1, 1 / 3, 1e-7, 1e16, 1e21, 1e22, 1e23, 123456.789, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 1e-45, 1.1754943508222875e-38, 3.4028234663852886e38, 16777217.0, 2.0**53 + 2]


def random_float(rng, dtype):
    """Returns a finite float: mostly one that people would measure, sometimes any."""
    how = rng.random()
    if how < 0.5:
        value = round(rng.gauss(0, 10), rng.randint(0, 6))
    elif how < 0.7:
        value = rng.gauss(0, 1)
    elif how < 0.85:
        value = rng.choice(FLOATS) * rng.choice([1, -1])
    else:
        value = struct.unpack(">d", rng.randbytes(8))[0] if dtype == "float64" else struct.unpack(">f", rng.randbytes(4))[0]
    return value if math.isfinite(value) else 1.5


def spelled(rng, value):
    """Returns a finite float's shortest text, or another text with the same value."""
    how = rng.random()
    if how < 0.6:
        text = repr(value)
    elif how < 0.75:
        text = f"{value:.{rng.randint(15, 20)}e}"
    elif how < 0.85 and abs(value) < 1e25:
        text = f"{value:.{rng.randint(0, 30)}f}"
    elif how < 0.95:
        text = f"{value:.6g}"
    else:
        text = moved(rng, f"{value:.17f}" if abs(value) < 1e20 else repr(value))
    mantissa, e, exponent = text.partition("e")
    return mantissa + (rng.choice("eE") + rng.choice([exponent, exponent.lstrip("+")]) if e else "")


def moved(rng, text):
    """Returns the same number with more zeros, and an exponent that makes up for them."""
    mantissa, _, exponent = text.lower().partition("e")
    zeros = rng.choice([1, 5, 30, 700, 801, 5000]) if rng.random() < 0.995 else 300_000
    whole, _, fraction = mantissa.partition(".")
    if whole.lstrip("-") == "0":
        mantissa = f"{whole}.{'0' * zeros}{fraction or '0'}"
        return f"{mantissa}e{int(exponent or 0) + zeros}"
    return f"{whole}{'0' * zeros}e{int(exponent or 0) - zeros}" if not fraction else f"{whole}{fraction}{'0' * zeros}e{int(exponent or 0) - len(fraction) - zeros}"


def middle(rng, dtype):
    """Returns the decimal halfway between two neighbours of dtype, or one very close to it."""
    digits, _, _ = exact.DIGITS[dtype]
    m, e = 2 * rng.getrandbits(digits) + 1, rng.choice([-1075, -300, -150, -60, -30, -5, 0, 60] if dtype == "float64" else [-150, -140, -60, -30, -5, 0, 60])
    text, exponent = (str(m * 5**-e), e) if e < 0 else (str(m * 2**e), 0)
    beside = rng.choice(["", ".0", "." + "0" * rng.choice([5, 900]) + "1"])
    return f"{rng.choice(['', '-'])}{text}{beside}" + (f"e{exponent}" if exponent else "")


def number(rng, dtype):
    if dtype == "int64":
        if rng.random() < 0.7:
            value = rng.randint(-20, 20) if rng.random() < 0.5 else rng.choice([rng.choice(LIMITS), rng.randint(-(2**63), 2**63 - 1)])
            text = str(value)
            how = rng.random()
            return text if how < 0.7 else text + ".0" if how < 0.8 else moved(rng, text) if how < 0.9 else f"{text}e0"
        return rng.choice(["1e3", "-0", "-0.0", "12.50e1", "5E+2", "0e99", "100e-2"])
    how = rng.random()
    return spelled(rng, random_float(rng, dtype)) if how < 0.85 else str(rng.choice(LIMITS)) if how < 0.9 else middle(rng, dtype)


def good(rng, dtype):
    """Returns a cell that a feature of dtype accepts, unless it is too large."""
    if dtype in NUMERIC:
        return "number", number(rng, dtype)
    if dtype == "bool":
        return "truth", rng.random() < 0.5
    if rng.random() < 0.7:
        return "text", rng.choice(TEXTS)
    return "text", "".join(rng.choices(ALPHABET, k=rng.randint(0, 12)))


def odd(rng, dtype):
    """Returns a cell that a feature of dtype may not accept."""
    how = rng.random()
    if how < 0.3:
        return "null", None
    if how < 0.5:
        return "absent", None
    if dtype in NUMERIC and how < 0.6:
        return "literal", rng.choice(["NaN", "Infinity", "-Infinity"])
    if dtype in NUMERIC and how < 0.8:
        return "number", rng.choice(["1e400", "-1e309", "3.5e38", "9223372036854775808", "-9223372036854775809", "1.5", "1e-400", "1e99999"])
    if dtype in NUMERIC and how < 0.85:
        return "truth", rng.random() < 0.5
    if dtype == "string" and how < 0.6:
        return "text", "a\0b"
    return "wrong", rng.choice({"string": ["1", "true", "[]", "{}"], "bool": ["1", "0", '"true"', "[true]"]}.get(dtype, ['"1"', '""', "[1]", '{"a": 1}']))


def cell(rng, dtype, oddness):
    return odd(rng, dtype) if rng.random() < oddness else good(rng, dtype)
