"""`python litert_peer.py READER FOLDER INPUT OUTPUT`: an exported model in LiteRT, used as its card
says, where no PyTorch is.

READER is "litert" (ai_edge_litert) or "tensorflow" (tf.lite). INPUT is JSON: `sources`, texts to
answer or continue with at most `n_new` tokens, and `targets`, rows of ids whose logits are wanted.
OUTPUT is a file of NumPy that gets the logits of each row. Prints JSON: the ids of the answers, and
milliseconds per token. It needs nothing of this project.
"""

import json
import sys
import time
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer


class Model:
    """Model in a folder."""

    def __init__(self, reader: str, folder: Path) -> None:
        self.config = json.loads((folder / "config.json").read_text("utf-8"))
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.encode_special_tokens = True
        library = {"litert": "ai_edge_litert.interpreter", "tensorflow": "tensorflow"}[reader]
        module = import_module(library)
        kind = module.lite.Interpreter if reader == "tensorflow" else module.Interpreter
        self.interpreter = kind(str(folder / "model.tflite"), num_threads=1)
        self.decode = self.interpreter.get_signature_runner("decode")
        self.n_step = 0

    def row(self, ids: list[int], length: int) -> np.ndarray:
        """Ids with padding behind them."""
        if len(ids) > length:
            raise SystemExit(f"a text has {len(ids)} tokens, more than {length}")
        return np.array([ids + [self.config["pad_id"]] * (length - len(ids))], np.int32)

    def begin(self, text: str) -> tuple[list[int], dict[str, np.ndarray]]:
        """First ids of what is written, and what the decoder reads besides."""
        ids = self.tokenizer.encode(text).ids
        if self.config["kind"] == "causal":
            return ids, {}
        source = self.row(ids, self.config["source_length"])
        encode = self.interpreter.get_signature_runner("encode")
        return [self.config["bos_id"]], {"source": source, **encode(source=source)}

    def logits(self, ids: list[int], given: dict[str, np.ndarray]) -> np.ndarray:
        """Logits after each of the ids."""
        self.n_step += 1
        found = self.decode(ids=self.row(ids, self.config["length"]), **given)["logits"]
        return found[0, : len(ids)]

    def answer(self, text: str, n_new: int) -> list[int]:
        """Ids of the greedy answer, with the end where it was reached."""
        ids, given = self.begin(text)
        n = len(ids)
        while len(ids) - n < n_new and len(ids) <= self.config["length"]:
            ids = [*ids, int(self.logits(ids, given)[-1].argmax())]
            if ids[-1] == self.config["eos_id"]:
                break
        return ids[n:]


def answers(reader: str, folder: Path, given: dict, output: Path) -> dict[str, object]:
    """Answers, and their speed; the logits go into a file."""
    if find_spec("torch") is not None:
        raise SystemExit("torch can be imported here")
    model = Model(reader, folder)
    rows = [
        model.logits(target, model.begin(source)[1])
        for source, target in zip(given["sources"], given["targets"], strict=True)
    ]
    np.save(output, np.concatenate(rows))
    model.n_step = 0
    began = time.perf_counter()
    found = [model.answer(text, given["n_new"]) for text in given["sources"]]
    seconds = time.perf_counter() - began
    return {"answers": found, "ms": 1000 * seconds / model.n_step}


if __name__ == "__main__":
    reader, folder, source, output = sys.argv[1:]
    given = json.loads(Path(source).read_text("utf-8"))
    print(json.dumps(answers(reader, Path(folder), given, Path(output))))
