"""`lslm data prepare`: the ids are those of the texts in their order, whatever happened on the
way.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lslm_lightning.__main__ import main
from lslm_lightning.data.packing import pack
from lslm_lightning.data.prepare import Progress, _record_shards, prepare
from lslm_lightning.data.prepared import INDEX, JOURNAL, TOKENIZER, Prepared, ShardedIds, dtype_of
from lslm_lightning.data.stream import Stream
from lslm_lightning.text.personal_data import PersonalDataFinder, Redaction
from lslm_lightning.text.recipes import Bytes, Characters
from lslm_lightning.text.tokenizer_files import load_tokenizer
from tasks.language_modeling.data import LanguageModelingData
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.slow

TEXTS = [f"text {i} 第{i}篇 " + "x" * (i % 13) for i in range(200)]
SHARD_BYTES = 600


@pytest.fixture
def texts(tmp_path):
    """Two files, and in the second a document that is empty."""
    folder = tmp_path / "texts"
    folder.mkdir()
    rows = [json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in [*TEXTS, ""]]
    (folder / "a.jsonl").write_text("".join(rows[:120]))
    (folder / "b.jsonl").write_text("".join(rows[120:]))
    return folder


def shards(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.ids"))}


def made(texts: Path, folder: Path, tokenizer=None, n_worker: int = 2) -> Prepared:
    stream = Stream(str(texts), empty="drop")
    return prepare(stream, tokenizer or Bytes().train(), folder, n_worker, SHARD_BYTES)


@given(st.lists(st.lists(st.integers(0, 255), max_size=5), min_size=1, max_size=6), st.data())
def test_several_rows_read_as_one(rows, data):
    ids = ShardedIds([np.array(row, dtype=np.uint16) for row in rows], 7)
    whole = np.concatenate([[7], *rows]).astype(np.int64)
    assert len(ids) == len(whole)
    positions = data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=8))
    for shaped in (np.array(positions, dtype=int), np.array([positions, positions], dtype=int)):
        assert np.array_equal(ids[shaped], whole[shaped])


@pytest.mark.parametrize("n_worker", [1, 3])
def test_the_ids_are_those_of_all_texts_in_order(n_worker, texts, tmp_path):
    tokenizer = Bytes().train()
    prepared = made(texts, tmp_path / "ids", tokenizer, n_worker)
    expected = np.asarray(pack(TEXTS, tokenizer, tmp_path / "packed"))
    assert np.array_equal(prepared.ids[np.arange(len(prepared.ids))], expected)
    parts = prepared.index["shards"]
    assert len(parts) > 5
    assert all(part["n_byte"] >= SHARD_BYTES for part in parts[:-1])
    assert sum(part["n_byte"] for part in parts) == sum(len(text.encode()) for text in TEXTS)
    assert sum(part["n_document"] for part in parts) == len(TEXTS)


@pytest.mark.parametrize("n_worker", [1, 2])
def test_redacted_ids_are_those_of_the_redacted_texts(n_worker, tmp_path):
    """And other rules of redaction make other data, whatever they replace."""
    rows = [f"{text}，电话13800138{i:03d}, a{i}@example.com" for i, text in enumerate(TEXTS)]
    file = tmp_path / "texts.jsonl"
    file.write_text("".join(json.dumps({"text": row}) + "\n" for row in rows))
    (tmp_path / "names").write_text("Ann Lee\n")
    kinds = {"redact_personal_data": "email,phone,name", "names": str(tmp_path / "names")}
    stream = Stream(str(file), **kinds)
    tokenizer = Bytes().train()
    folder = tmp_path / "ids"
    redacted = prepare(stream, tokenizer, folder, n_worker, SHARD_BYTES)
    finder = PersonalDataFinder(["email", "phone", "name"], names=["Ann Lee"])
    expected = np.asarray(pack([*map(Redaction(finder), rows)], tokenizer, tmp_path / "packed"))
    assert np.array_equal(redacted.ids[np.arange(len(redacted.ids))], expected)
    assert redacted.redactions == {"email": len(TEXTS), "phone": len(TEXTS)}
    before = shards(folder)
    (folder / "shard-00002.ids").unlink()
    assert prepare(stream, tokenizer, folder, 1, SHARD_BYTES) == redacted
    assert shards(folder) == before
    unlike = [Stream(str(file), redact_personal_data=kinds) for kinds in (None, "iban", "email")]
    for other in unlike:
        with pytest.raises(ValueError, match="begun with another redaction"):
            prepare(other, tokenizer, folder, 1, SHARD_BYTES)
    plain = made(file, tmp_path / "plain", tokenizer)
    with pytest.raises(ValueError, match="begun with another redaction"):
        prepare(stream, tokenizer, plain.folder, 1, SHARD_BYTES)
    digests = {
        prepare(each, tokenizer, tmp_path / f"other-{i}", 1, SHARD_BYTES).digest
        for i, each in enumerate(unlike)
    }
    assert len(digests) == len({each.digest for each in unlike}) == 3


def test_ids_take_two_bytes_where_they_fit():
    assert dtype_of(2**16).itemsize == 2
    assert dtype_of(2**16 + 1).itemsize == 4


@pytest.mark.parametrize(
    "harm",
    [
        lambda folder: (folder / "shard-00003.ids").unlink(),
        lambda folder: (folder / "shard-00003.ids").write_bytes(
            (folder / "shard-00003.ids").read_bytes()[:-2]
        ),
        lambda folder: (folder / "shard-00003.ids").write_bytes(
            b"\xff" + (folder / "shard-00003.ids").read_bytes()[1:]
        ),
        lambda folder: (folder / JOURNAL).write_text(
            "".join((folder / JOURNAL).read_text().splitlines(keepends=True)[:4])[:-9]
        ),
        lambda folder: (folder / INDEX).unlink(),
    ],
    ids=["missing", "short", "flipped", "journal cut off", "no index"],
)
def test_what_is_damaged_is_made_again_and_nothing_else(harm, texts, tmp_path):
    folder = tmp_path / "ids"
    made(texts, folder)
    straight = shards(folder)
    index = (folder / INDEX).read_text()
    times = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.ids")}
    harm(folder)
    (folder / ".shard-00003.ids.1a2b3c.part").write_bytes(b"of a worker that was killed")
    made(texts, folder)
    assert shards(folder) == straight
    assert (folder / INDEX).read_text() == index
    assert all((folder / name).stat().st_mtime_ns == times[name] for name in sorted(times)[:2])
    assert not list(folder.glob(".*.part"))


def test_the_folder_of_other_texts_or_another_tokenizer_is_refused_and_kept(texts, tmp_path):
    folder = tmp_path / "ids"
    made(texts, folder)
    before = shards(folder)
    with pytest.raises(ValueError, match="begun with another tokenizer"):
        made(texts, folder, Characters().train(TEXTS))
    with (texts / "b.jsonl").open("a") as file:
        file.write('{"text": "one more"}\n')
    with pytest.raises(ValueError, match="begun with another source"):
        made(texts, folder)
    assert shards(folder) == before


def test_a_killed_preparation_goes_on_and_leaves_no_process(texts, tmp_path):
    """The hard way, the parent alone: its workers end with it. Then Ctrl-C, which ends all at
    once.
    """
    with (texts / "b.jsonl").open("a") as file:
        for i in range(20_000):
            file.write(
                json.dumps({"text": f"第{i}篇 " + "红绿蓝 " * (i % 20)}, ensure_ascii=False) + "\n"
            )
    words = [
        "-m",
        "lslm_lightning",
        "data",
        "prepare",
        str(texts),
        "--vocab-size=300",
        "--tokenizer-texts=500",
        "--workers=2",
        "--empty=drop",
    ]
    words += ["--shard-mb=0.02", "--output"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    killed = tmp_path / "killed"
    for number, n_shard in ((signal.SIGKILL, 3), (signal.SIGINT, 20)):
        process = subprocess.Popen(
            [sys.executable, *words, str(killed)],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        kept = wait_for(killed, n_shard, process)
        workers = psutil.Process(process.pid).children()
        process.send_signal(number)
        _, said = process.communicate(timeout=PATIENCE)
        assert process.returncode == (-number if number == signal.SIGKILL else 130), said
        assert "Traceback" not in said
        _, alive = psutil.wait_procs(workers, PATIENCE)
        assert not alive, "a worker outlives its parent"
    assert main([*words[2:], str(killed)]) == 0
    assert all((killed / name).stat().st_mtime_ns == at for name, at in kept.items()), (
        "what was done is not done again"
    )
    straight = tmp_path / "straight"
    stream = Stream(str(texts), empty="drop")
    prepare(stream, load_tokenizer(killed / TOKENIZER), straight, 1, 20_000)
    assert shards(killed) == shards(straight)
    assert (killed / INDEX).read_text() == (straight / INDEX).read_text()


def wait_for(folder: Path, n_shard: int, process: subprocess.Popen) -> dict[str, int]:
    """The shards that the journal has, once there are so many, and when each was written."""
    while not (folder / JOURNAL).exists() or (folder / JOURNAL).read_text().count("\n") <= n_shard:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    names = [
        json.loads(line)["file"] for line in (folder / JOURNAL).read_text().splitlines()[1:n_shard]
    ]
    return {name: (folder / name).stat().st_mtime_ns for name in names}


@pytest.mark.skipif(not os.path.isdir("/dev/fd"), reason="pipes have no names")
def test_names_may_come_through_a_pipe(tmp_path, capfd):
    """Which can be read only once."""
    (tmp_path / "texts.txt").write_text("Ann Lee came\nand Ann Lee left\n")
    reading, writing = os.pipe()
    os.write(writing, b"Ann Lee\n")
    os.close(writing)
    words = ["--vocab-size=300", "--redact-personal-data=name", f"--names=/dev/fd/{reading}"]
    try:
        output = ["--output", str(tmp_path / "ids")]
        status = main(["data", "prepare", str(tmp_path / "texts.txt"), *words, *output])
    finally:
        os.close(reading)
    said = capfd.readouterr()
    assert status == 0, said.err
    assert "name 2" in said.out
    assert "Ann" not in (tmp_path / "ids" / TOKENIZER).read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere/*.jsonl"], "nowhere/*.jsonl has no files that end in"),
        (["texts", "--column", "body"], "has no column 'body'; it has text"),
        (["texts", "--workers", "0"], "--workers=0 must be more than 0"),
        (["texts", "--tokenizer", "none.json"], "none.json"),
        (["texts", "--redact-personal-data", "mail"], "'mail'"),
        (["texts", "--redact-personal-data", "name"], "--names"),
        (["texts", "--names", "texts"], "--names=texts needs --redact-personal-data"),
        (["texts", "--redact-personal-data", "email", "--names", "texts"], "--names=texts"),
        (["texts", "--redact-personal-data", "--names", "none.txt"], "none.txt"),
    ],
)
def test_what_cannot_be_prepared_is_one_line(words, said, texts, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    assert main(["data", "prepare", *words, "--output", "ids"]) in (1, 2)
    err = capfd.readouterr().err
    assert said in err
    assert err.count("\n") == 1, err


def test_a_folder_that_is_a_file_is_one_line(texts, tmp_path, capfd):
    (tmp_path / "ids").write_text("")
    assert (
        main(["data", "prepare", str(texts), "--vocab-size=300", "--output", str(tmp_path / "ids")])
        == 1
    )
    err = capfd.readouterr().err
    assert err.count("\n") == 1, err


def test_training_reads_prepared_ids_as_it_reads_a_corpus(texts, project, monkeypatch):
    """The same windows, batch for batch."""
    monkeypatch.setenv("LSLM_CACHE", str(project / "cache"))
    for split in ("train", "val", "test"):
        (project / f"{split}.jsonl").write_text(
            "".join(json.dumps({"text": text}) + "\n" for text in TEXTS)
        )
    recipe = Bytes()
    made(texts, project / "ids", recipe.train())
    plain = LanguageModelingData(str(project), recipe, context=16)
    prepared = LanguageModelingData(str(project), prepared=str(project / "ids"), context=16)
    assert prepared.tokenizer.digest == plain.tokenizer.digest
    one = plain.packed("train")
    two = prepared.packed("train")
    assert len(one.ids) == len(two.ids)
    starts = np.arange(0, len(one.ids), 16)
    assert one[starts].ids.equal(two[starts].ids)
    assert prepared.digest("val") == plain.digest("val")


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda folder: (folder / INDEX).unlink(), "is not finished; give the same command again"),
        (lambda folder: (folder / INDEX).write_text("{"), "is damaged"),
        (lambda folder: (folder / "shard-00001.ids").unlink(), "shard-00001.ids is missing"),
    ],
)
def test_a_folder_that_is_not_whole_is_not_trained_on(harm, said, texts, tmp_path):
    made(texts, tmp_path / "ids")
    harm(tmp_path / "ids")
    with pytest.raises(ValueError, match=said):
        Prepared.open(tmp_path / "ids")


def test_a_shard_costs_as_much_after_many_as_after_few(tmp_path):
    """Totals are kept, not added up anew after each shard."""
    looks = 0

    class Shard(dict):
        def __getitem__(self, name):
            nonlocal looks
            looks += 1
            return super().__getitem__(name)

        def get(self, name, default=None):
            nonlocal looks
            looks += 1
            return super().get(name, default)

    def shard(i: int) -> Shard:
        counts = {"n_document": 1 + i % 3, "n_byte": 10 * i, "n_token": 2 * i}
        return Shard(file=f"{i}.ids", **counts, redactions={"email": i % 2})

    told: list[Progress] = []
    before = [shard(i) for i in range(100)]
    every = [*before, *(shard(i) for i in range(100, 300))]
    _record_shards(tmp_path, [*before], every[100:], told.append)
    assert looks <= 10 * len(every)
    for n, progress in enumerate(told, 101):
        assert progress.n_shard == n
        for name in ("n_document", "n_byte", "n_token"):
            assert getattr(progress, name) == sum(each[name] for each in every[:n]), name
        assert progress.redactions["email"] == sum(
            each["redactions"]["email"] for each in every[:n]
        )
        assert progress.n_byte_new == progress.n_byte - sum(each["n_byte"] for each in before)
