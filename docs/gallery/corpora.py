"""Tiny corpora for the gallery: `python -m docs.gallery.corpora` writes them into `data/`."""

import json
import random
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.support.question_corpus import make_rows
from tests.support.tone_corpus import write_spoken

SIZES = {"train": 3000, "val": 100, "test": 200}  # rows of each split
ONES = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    *("ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen"),
    *("eighteen", "nineteen"),
)
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
DIGITS = "零一二三四五六七八九"
PEOPLE = ("Anna", "Bela", "Carl", "Dora", "Emil", "Fritz", "Greta", "Hugo")
TOWNS = ("Rome", "Paris", "Bath", "Lima", "Oslo", "Kyoto", "Turin", "Graz")
GOODS = ("lamps", "chairs", "books", "clocks", "bells", "kites", "boats", "drums")
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")


def main(folder: Path) -> None:
    """Write all corpora into a folder."""
    for k, (split, size) in enumerate(SIZES.items()):
        chance = random.Random(k)
        numbers = [chance.randrange(10 ** chance.randint(1, 4)) for _ in range(size)]
        pairs = ({"en": in_english(n), "zh": in_chinese(n)} for n in numbers)
        write(folder / "numbers" / f"{split}.jsonl", pairs)
        write(folder / "sales" / f"{split}.jsonl", (sale(chance) for _ in range(size)))
        questions = make_rows(min(size, 1000), "en", k)
        write(folder / "questions" / f"{split}.jsonl", questions)
        market = folder / "market" / f"{split}.txt"
        market.parent.mkdir(parents=True, exist_ok=True)
        market.write_text("".join(sale(chance)["document"] + "\n" for _ in range(size)), "utf-8")
    write_spoken(folder / "tones", n_train=120, n_other=20)


def in_english(number: int) -> str:
    """Return a number below 10,000 in English words."""
    if number < 20:
        return ONES[number]
    if number < 100:
        rest = f"-{ONES[number % 10]}" if number % 10 else ""
        return TENS[number // 10 - 2] + rest
    unit, name = (1000, "thousand") if number >= 1000 else (100, "hundred")
    joint = " and " if number % unit < 100 else " "
    rest = joint + in_english(number % unit) if number % unit else ""
    return f"{in_english(number // unit)} {name}{rest}"


def in_chinese(number: int) -> str:
    """Return a number below 10,000 in Chinese characters."""
    if number < 10:
        return DIGITS[number]
    digits = [int(digit) for digit in str(number)]
    shown = "".join(
        DIGITS[digit] + ("", "十", "百", "千")[len(digits) - 1 - i] if digit else DIGITS[0]
        for i, digit in enumerate(digits)
    )
    while "零零" in shown:
        shown = shown.replace("零零", "零")
    shown = shown.rstrip("零")
    return shown.removeprefix("一") if shown.startswith("一十") else shown


def sale(chance: random.Random) -> dict[str, str]:
    """Return a notice on a sale, and its summary."""
    who, town, goods, day = map(chance.choice, (PEOPLE, TOWNS, GOODS, DAYS))
    number = chance.randint(2, 60)
    weather = chance.choice(("It rained all day.", "The sun was out.", "There was a storm."))
    sold = f"On {day} {who} came from {town} and sold {number} {goods}."
    crowd = f"The market in {chance.choice(TOWNS)} was full."
    sentences = [weather, sold, crowd]
    chance.shuffle(sentences)
    return {"document": " ".join(sentences), "summary": f"{who} sold {number} {goods}"}


def write(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    """Write rows as JSON Lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text("".join(lines), "utf-8")


if __name__ == "__main__":
    main(Path("data"))
