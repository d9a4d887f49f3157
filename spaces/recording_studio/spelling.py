"""Spells out the numbers of an English text, for what is called its normalised form."""

import re

ONES = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
]  # fmt: skip
TENS = ["zero", "ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
SIGNS = {"%": " percent", "&": " and "}
# Longer ones are no quantities but numbers of telephones and rooms, which are read digit by digit.
MAX_DIGITS = 6


def normalise(text: str) -> str:
    """The text with its numbers in words: "Room 12, 3.5 %" becomes "Room twelve, three point five percent"."""
    text = re.sub(r"(?<=\d),(?=\d{3}\b)", "", text)
    text = re.sub(r"\d+(\.\d+)?", lambda found: _spell(found[0]), text)
    for sign, word in SIGNS.items():
        text = text.replace(sign, word)
    return " ".join(text.split())


def _spell(written: str) -> str:
    whole, _, decimals = written.partition(".")
    is_quantity = len(whole) <= MAX_DIGITS and (whole == "0" or not whole.startswith("0"))
    words = _quantity(int(whole)) if is_quantity else _digits(whole)
    return f"{words} point {_digits(decimals)}" if decimals else words


def _digits(written: str) -> str:
    return " ".join(ONES[int(digit)] for digit in written)


def _quantity(number: int) -> str:
    if number < 20:
        return ONES[number]
    if number < 100:
        return TENS[number // 10] + (f" {ONES[number % 10]}" if number % 10 else "")
    unit, name = (1000, "thousand") if number >= 1000 else (100, "hundred")
    rest = number % unit
    return f"{_quantity(number // unit)} {name}" + (f" {_quantity(rest)}" if rest else "")
