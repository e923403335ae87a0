"""A language of tones: each letter is a pure tone, a space is silence. Recordings of it are learned
in seconds.
"""

import io
import json
import random
import wave
from pathlib import Path

import numpy as np

RATE_HZ = 8000
TONES_HZ = {"a": 400, "b": 800, "c": 1200, "d": 1800, " ": 0}
LETTER_MS = 80


def tones(text: str, seed: int = 0) -> np.ndarray:
    """Samples of a text, letter by letter, with a little noise; between letters it is silent for a
    moment.
    """
    n = RATE_HZ * LETTER_MS // 1000
    time = np.arange(n) / RATE_HZ
    window = np.hanning(n)
    letters = [np.sin(2 * np.pi * TONES_HZ[letter] * time) * window for letter in text]
    noise = np.random.default_rng(seed).normal(0, 0.003, len(letters) * n)
    return 0.5 * np.concatenate(letters) + noise


def wav(samples: np.ndarray, rate_hz: int = RATE_HZ) -> bytes:
    """16 bits, one channel."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((1, 2, rate_hz, 0, "NONE", ""))
        out.writeframes((samples * 32767).clip(-32768, 32767).astype("<i2").tobytes())
    return file.getvalue()


def words(chance: random.Random) -> str:
    """One to three words of one to three letters."""
    return " ".join(
        "".join(chance.choice("abcd") for _ in range(chance.randint(1, 3)))
        for _ in range(chance.randint(1, 3))
    )


def write_spoken(folder: Path, n_train: int = 24, n_other: int = 6) -> Path:
    """A corpus with a manifest a split, train.jsonl and so on, and its recordings in folders of
    their own; two speakers.
    """
    for seed, (split, n) in enumerate((("train", n_train), ("val", n_other), ("test", n_other))):
        chance = random.Random(seed)
        rows = []
        (folder / split).mkdir(parents=True, exist_ok=True)
        for i in range(n):
            text = words(chance)
            name = f"{split}/{i}.wav"
            (folder / name).write_bytes(wav(tones(text, seed=1000 * seed + i)))
            rows.append({"audio": name, "text": text, "speaker": "anna" if i % 2 else "otto"})
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder
