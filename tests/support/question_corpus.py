"""Questions that tiny models can learn to answer: who lives where, in English and in Chinese."""

import json
import random
from pathlib import Path

NAMES = {
    "en": ["Anna", "Bela", "Carl", "Dora", "Emil", "Fritz"],
    "zh": ["安娜", "贝拉", "卡尔", "朵拉", "爱弥", "弗里"],
}
PLACES = {
    "en": ["Rome", "Paris", "Old Town", "Bath", "Lima"],
    "zh": ["罗马", "巴黎", "旧城", "巴斯", "利马"],
}
SENTENCE = {"en": "{name} lives in {place}.", "zh": "{name}住在{place}。"}
ASKED = {"en": "Where does {name} live?", "zh": "{name}住在哪里？"}


def make_rows(n: int, language: str, seed: int, missing: bool = True) -> list[dict]:
    """Return `n` rows of a question each; with `missing`, every third passage has no answer."""
    chance = random.Random(seed)
    rows = []
    for i in range(n):
        names = chance.sample(NAMES[language], 4)
        known = {name: chance.choice(PLACES[language]) for name in names[: chance.randint(1, 3)]}
        sentences = [
            SENTENCE[language].format(name=name, place=place) for name, place in known.items()
        ]
        passage = (" " if language == "en" else "").join(sentences)
        who = names[3] if missing and i % 3 == 0 else chance.choice(list(known))
        asked = ASKED[language].format(name=who)
        places = [known[who]] if who in known else []
        starts = [passage.index(place, passage.index(who)) for place in places]
        row = {"id": f"{language}-{seed}-{i}", "context": passage, "question": asked}
        rows.append(row | {"answers": places, "starts": starts})
    return rows


def write(folder: Path, n: int = 60, language: str = "en", missing: bool = True) -> Path:
    """Write the three splits, of `n`, 12 and 12 questions, and return their folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, (split, size) in enumerate((("train", n), ("val", 12), ("test", 12))):
        rows = make_rows(size, language, seed, missing)
        (folder / f"{split}.jsonl").write_text(
            "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8"
        )
    return folder
