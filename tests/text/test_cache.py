"""Processes train a tokenizer once, and the cache knows what it was trained on."""

import multiprocessing
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from lslm_lightning.text.cache import train_once
from lslm_lightning.text.recipes import Characters, Recipe, Words
from lslm_lightning.text.tokenizer import Tokenizer
from lslm_lightning.text.tokenizer_files import load_tokenizer
from tests.support.waiting import PATIENCE

CORPUS = ["the cat sat on the mat\n", "床前明月光，疑是地上霜。\n举头望明月，低头思故乡。"] * 10


@dataclass(frozen=True)
class Counted(Recipe):
    """Characters, slowly; every training leaves a line in a file."""

    log: str

    def train(self, texts):
        with open(self.log, "a") as file:
            file.write("trained\n")
        time.sleep(0.3)  # so that the others arrive meanwhile
        return Characters().train(texts)


def _train_in_process(log, cache, barrier, digests):
    barrier.wait()
    digests.put(train_once(Counted(log), lambda: CORPUS, "corpus", cache).digest)


def test_processes_that_start_together_train_once(tmp_path):
    context = multiprocessing.get_context("fork")  # which has imported all
    barrier = context.Barrier(4)
    digests = context.Queue()
    log = str(tmp_path / "log")
    processes = [
        context.Process(target=_train_in_process, args=(log, tmp_path, barrier, digests))
        for _ in range(4)
    ]
    for process in processes:
        process.start()
    found = {digests.get(timeout=PATIENCE) for _ in processes}
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert Path(log).read_text() == "trained\n"
    assert found == {Characters().train(CORPUS).digest}


def test_the_cache_knows_corpus_and_settings(tmp_path):
    def never():
        raise AssertionError("read the corpus again")

    first = train_once(Words(), lambda: CORPUS, "a", tmp_path)
    assert train_once(Words(), never, "a", tmp_path).digest == first.digest
    assert train_once(Words(), lambda: ["other words"], "b", tmp_path).digest != first.digest
    assert train_once(Words(min_count=11), lambda: CORPUS, "a", tmp_path).digest != first.digest


def test_a_failed_training_leaves_nothing_behind(tmp_path):
    with pytest.raises(ValueError, match="the corpus is empty"):
        train_once(Words(), lambda: [], "a", tmp_path)
    assert isinstance(train_once(Words(), lambda: CORPUS, "a", tmp_path), Tokenizer)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"[" * 100_000])
def test_a_damaged_file_in_the_cache_is_made_again(content, tmp_path):
    expected = train_once(Words(), lambda: CORPUS, "corpus", tmp_path).digest
    [path] = tmp_path.glob("*.json")
    path.write_bytes(content)
    assert train_once(Words(), lambda: CORPUS, "corpus", tmp_path).digest == expected
    assert load_tokenizer(path).digest == expected
