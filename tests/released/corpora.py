"""Tiny corpora that the runs of the last release were trained on, equal on every machine.

Nothing here is random and no number is a float, so the digests of test sets that the runs recorded
hold wherever the corpora are written. What is written here must never change.
"""

import io
import json
import wave
from collections.abc import Mapping, Sequence
from pathlib import Path

WORDS = ("red", "green", "blue", "one", "two", "three", "cat", "dog", "bird", "runs", "sleeps")
CHINESE = dict(zip(WORDS, "红绿蓝一二三猫狗鸟跑睡", strict=True))
NAMES = ("Anna", "Bela", "Carl", "Dora", "Emil", "Fritz")
CITIES = ("Rome", "Paris", "Old Town", "Bath", "Lima")
RATE_HZ = 8000
LETTER_SAMPLES = 480
TONES_HZ = {"a": 400, "b": 800, "c": 1200, "d": 1800, " ": 0}
SPOKEN = ("a", "ab", "dc", "b d", "ca b", "dad", "a cab", "bad", "cd a", "abc", "d", "ba ca")
SIZES = {"train": 48, "val": 8, "test": 8}


def write_corpora(folder: Path) -> None:
    """Write `text`, `pairs`, `documents`, `questions` and `spoken` into `folder`."""
    for offset, (split, size) in enumerate(SIZES.items()):
        numbers = range(1000 * offset, 1000 * offset + size)
        _write(folder / "text" / f"{split}.txt", " ".join(sentence(i) for i in numbers))
        _write(folder / "pairs" / f"{split}.en", "".join(f"{sentence(i)}\n" for i in numbers))
        _write(
            folder / "pairs" / f"{split}.zh",
            "".join("".join(CHINESE[word] for word in sentence(i).split()) + "\n" for i in numbers),
        )
        _write_rows(folder / "documents" / f"{split}.jsonl", [document(i) for i in numbers])
        _write_rows(folder / "questions" / f"{split}.jsonl", [question(i) for i in numbers])
        recordings = range(12 * offset, 12 * offset + size // 2)
        _write_rows(folder / "spoken" / f"{split}.jsonl", [recording(split, i) for i in recordings])
        for i in recordings:
            path = folder / "spoken" / split / f"{i}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(square_waves(said(i)))


def sentence(number: int) -> str:
    """Return one to six words."""
    return " ".join(WORDS[(number * 7 + j * 3 + number // 9) % 11] for j in range(1 + number % 6))


def document(number: int) -> Mapping[str, object]:
    """Return three sentences, of which the summary repeats the one about a cat."""
    who = WORDS[number % 3]
    others = [f"The {WORDS[(number + j) % 3]} bird has {sentence(number + j)}." for j in (1, 2)]
    chosen = f"A {who} cat sleeps on {WORDS[3 + number % 3]} {WORDS[7 + number % 2]}."
    others.insert(number % 3, chosen)
    summary = f"{who} cat sleeps on {WORDS[3 + number % 3]}"
    return {"id": f"d{number}", "document": " ".join(others), "summary": summary}


def question(number: int) -> Mapping[str, object]:
    """Return a passage on who lives where; every third question has no answer."""
    known = {
        NAMES[(number + j) % 6]: CITIES[(number * 3 + j * 2) % 5] for j in range(1 + number % 3)
    }
    passage = " ".join(f"{name} lives in {city}." for name, city in known.items())
    name = NAMES[(number + 5) % 6] if number % 3 == 0 else list(known)[number % len(known)]
    cities = [known[name]] if name in known else []
    starts = [passage.index(city, passage.index(name)) for city in cities]
    return {
        "id": f"q{number}",
        "context": passage,
        "question": f"Where does {name} live?",
        "answers": cities,
        "starts": starts,
    }


def said(number: int) -> str:
    """Return the transcript of a recording."""
    return SPOKEN[(number * 5 + number // 12) % len(SPOKEN)]


def recording(split: str, number: int) -> Mapping[str, str]:
    """Return the row of a recording in the table of its split."""
    speaker = ("anna", "otto")[number % 2]
    return {"audio": f"{split}/{number}.wav", "text": said(number), "speaker": speaker}


def square_waves(text: str) -> bytes:
    """Return a WAV file in which every letter is a tone, in integers alone."""
    samples = bytearray()
    for letter in text:
        for i in range(LETTER_SAMPLES):
            is_high = (2 * i * TONES_HZ[letter] // RATE_HZ) % 2
            level = 20 * min(i, LETTER_SAMPLES - i) if TONES_HZ[letter] else 3
            samples += (level if is_high else -level).to_bytes(2, "little", signed=True)
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((1, 2, RATE_HZ, 0, "NONE", ""))
        out.writeframes(bytes(samples))
    return file.getvalue()


def _write_rows(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    _write(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
