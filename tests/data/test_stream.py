"""Texts that are read as they are needed: every one once an epoch, the same batches for any number
of processes, exact places.
"""

import csv
import gzip
import json
import re
from collections import Counter
from itertools import islice

import numpy as np
import pytest

from lslm_lightning.corpora.archives import read_file
from lslm_lightning.data.prepare import prepare
from lslm_lightning.data.sharded_streams import ShardedStreams, StreamCursor
from lslm_lightning.data.stream import Stream, format_of
from lslm_lightning.text.recipes import Bytes
from tests.corpora.test_roads import PACK

CONTEXT = 8
BATCH = 3


@pytest.fixture
def tokenizer():
    return Bytes().train()


@pytest.fixture
def shards(tmp_path):
    """`n` -> a folder of as many packed files of texts, of which no two are alike."""

    def write(n, n_text=37):
        folder = tmp_path / f"{n}"
        folder.mkdir()
        for i in range(n):
            rows = [
                json.dumps({"text": f"{i}文{j}" + "x" * (j % 11), "n": j}, ensure_ascii=False)
                for j in range(n_text)
            ]
            with gzip.open(folder / f"part-{i}.jsonl.gz", "wt", encoding="utf-8") as file:
                file.write("\n".join(rows) + "\n")
        return folder

    return write


def test_a_stream_has_all_texts_in_order_and_begins_anywhere(shards):
    stream = Stream(str(shards(3)))
    assert stream.n_shard == 3
    texts = list(stream.documents(1))
    assert len(texts) == 37
    assert texts[0] == "1文0"
    assert list(stream.documents(1, 30)) == texts[30:]
    assert stream.head(40) == [*stream.documents(0), *islice(stream.documents(1), 3)]


@pytest.mark.parametrize("n_shard", [1, 3, 8])
def test_an_epoch_has_every_token_once(n_shard, shards, tokenizer):
    """In a lane of its own shards, and where all lanes share too few of them."""
    stream = Stream(str(shards(n_shard)))
    lanes = ShardedStreams(stream, tokenizer, CONTEXT, BATCH, n_lane=4, buffer=5)
    found: Counter = Counter()
    for lane in range(4):
        for ids, place in lanes.read(lane):
            if lanes.shard(lane, place.shard)[0]:
                break
            found.update(ids[:, 1:][ids[:, 1:] != tokenizer.pad_id].tolist())
    expected = Counter(
        i for text in stream.head(10_000) for i in [*tokenizer.encode(text), tokenizer.eos_id]
    )
    assert found == expected


@pytest.mark.slow
@pytest.mark.parametrize("n_shard", [1, 3, 4, 6, 7, 8])
def test_no_document_comes_much_oftener_than_another(n_shard, shards, tokenizer):
    """Where shards, or blocks of them, cannot be dealt out evenly, a lane has them by turns."""
    lanes = ShardedStreams(
        Stream(str(shards(n_shard))), tokenizer, CONTEXT, BATCH, n_lane=4, buffer=5
    )
    n_epoch = 12
    blocks = [
        lanes.batches(list(lanes.stream.documents(i))[j : j + 5], 0, i, j // 5)
        for i in range(n_shard)
        for j in range(0, 37, 5)
    ]
    times: Counter = Counter()
    for _, lane, place in islice(lanes.share(0, {}), n_epoch * sum(map(len, blocks))):
        if place.batch == 1:
            times[lanes.shard(lane, place.shard)[1], place.block] += 1
    assert len(times) == len(blocks)
    assert n_epoch - 3 <= min(times.values()) <= max(times.values()) <= n_epoch + 3


@pytest.mark.parametrize("n_shard", [1, 8])
def test_any_number_of_processes_reads_the_same_batches(n_shard, shards, tokenizer):
    lanes = ShardedStreams(
        Stream(str(shards(n_shard))), tokenizer, CONTEXT, BATCH, n_lane=4, buffer=5
    )
    alone = [ids for ids, _, _ in islice(lanes.share(0, {}), 40)]
    for world in (2, 4):
        shares = [islice(lanes.share(0, {}, rank, world), 40 // world) for rank in range(world)]
        for number, together in enumerate(zip(*shares, strict=True)):
            for rank, (ids, lane, _) in enumerate(together):
                assert np.array_equal(ids, alone[number * world + rank])
                assert lane % world == rank
    # the two workers of rank 1
    parts = [islice(lanes.share(0, {}, 1, 2, part, 2), 10) for part in range(2)]
    assert all(
        np.array_equal(ids, alone[4 * i + 1 + 2 * part])
        for part in range(2)
        for i, (ids, _, _) in enumerate(parts[part])
    )


@pytest.mark.parametrize("n_shard", [1, 8])
@pytest.mark.parametrize("done", [1, 7, 58, 120])
def test_a_place_is_all_it_takes_to_go_on(n_shard, done, shards, tokenizer):
    """Also for another number of processes, and beyond the end of an epoch."""
    lanes = ShardedStreams(
        Stream(str(shards(n_shard))), tokenizer, CONTEXT, BATCH, n_lane=4, buffer=5
    )
    straight = list(islice(lanes.share(0, {}), done + 30))
    places: dict[int, StreamCursor] = {lane: place for _, lane, place in straight[:done]}
    for (ids, *at), (again, *at_again) in zip(
        straight[done:], lanes.share(done, places), strict=False
    ):
        assert np.array_equal(ids, again)
        assert at == at_again


def test_redacted_texts_are_those_that_are_prepared(tmp_path, tokenizer):
    """Streamed texts and prepared ids come from one redaction, in any order."""
    texts = [f"{i}: write to ann{i}@example.com, 电话１３８００１３８{i:03d}" for i in range(20)]
    file = tmp_path / "texts.jsonl"
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    (tmp_path / "names").write_text("write\n")
    stream = Stream(str(file), redact_personal_data="all", names=str(tmp_path / "names"))
    prepared = prepare(stream, tokenizer, tmp_path / "ids", 1, 500)
    ids = prepared.ids[np.arange(1, len(prepared.ids))]
    ends = np.flatnonzero(ids == tokenizer.eos_id)
    rows = [tokenizer.decode(row.tolist()) for row in np.split(ids, ends + 1)[:-1]]
    longest = 1 + max(len(text.encode()) for text in texts)  # each window has one whole text
    lanes = ShardedStreams(stream, tokenizer, longest, 1, n_lane=1, buffer=1)
    streamed = [
        tokenizer.decode([i for i in window[0].tolist() if i != tokenizer.pad_id])
        for window, _ in islice(lanes.read(0), len(texts))
    ]
    assert rows == stream.head(100)
    assert Counter(streamed) == Counter(rows)
    assert rows[3] == "3: [NAME] to [EMAIL], 电话[PHONE]"
    plain = Stream(str(file))
    assert plain.head(100) == texts
    assert plain.digest == stream.source_digest != stream.digest


@pytest.mark.parametrize(
    ("kinds", "names", "said"),
    [
        ("mail", None, "'mail'"),
        ("", None, "data.stream.redact_personal_data=''"),
        ("name", None, "data.stream.names"),
        (None, "names", "data.stream.redact_personal_data"),
        ("email", "names", "data.stream.names=names"),
    ],
)
def test_a_redaction_that_cannot_be_is_told(kinds, names, said, shards):
    with pytest.raises(ValueError, match=re.escape(said)):
        _ = Stream(str(shards(1)), redact_personal_data=kinds, names=names).digest


def test_epochs_and_seeds_differ(shards, tokenizer):
    stream = Stream(str(shards(8)))
    first, second = (
        next(ShardedStreams(stream, tokenizer, CONTEXT, BATCH, seed, 4, 5).read(0))[0]
        for seed in (0, 1)
    )
    assert not np.array_equal(first, second)
    by_epoch: dict[int, list] = {}
    lanes = ShardedStreams(stream, tokenizer, CONTEXT, BATCH, 0, 4, 5)
    for ids, place in islice(lanes.read(0), 200):
        by_epoch.setdefault(lanes.shard(0, place.shard)[0], []).append(ids)
    assert len(by_epoch) > 1
    assert not np.array_equal(by_epoch[0][0], by_epoch[1][0])


def test_formats_by_name():
    assert format_of("s3://b/part-0.jsonl.zst") == "jsonl"
    assert format_of("a.parquet") == "parquet"
    assert format_of("README") is None
    assert format_of("a.tar.gz") is None


@pytest.mark.parametrize(
    ("names", "column", "words"),
    [
        ([], "text", "has no files that end in .txt"),
        (["a.jsonl", "b.txt"], "text", "files of several formats"),
        (["a.jsonl"], "body", "has no column 'body'; it has text"),
    ],
)
def test_what_cannot_be_read_is_said(names, column, words, tmp_path):
    for name in names:
        (tmp_path / name).write_text('{"text": "x"}\n')
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        _ = Stream(str(tmp_path), column).n_shard


def test_json_lines_and_lists_of_objects_stand_side_by_side(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "1"}\n')
    (tmp_path / "b.json").write_text('[{"text": "2"}]')
    (tmp_path / "c.json").write_text('{"text": "3"}\n{"text": "4"}\n')
    assert Stream(str(tmp_path)).head(9) == ["1", "2", "3", "4"]


def test_an_empty_file_among_others_has_no_texts(tmp_path):
    for name, text in (("a", ""), ("b", "\n\n"), ("c", '{"text": "x"}\n')):
        (tmp_path / f"{name}.jsonl").write_text(text)
    stream = Stream(str(tmp_path))
    assert stream.n_shard == 3
    assert [list(stream.documents(shard)) for shard in range(3)] == [[], [], ["x"]]


def test_an_inner_column(tmp_path):
    (tmp_path / "a.jsonl").write_text(
        '{"id": 1, "meta": {"body": "x"}}\n{"id": 2, "meta": {"body": ["y", "z"]}}\n'
    )
    assert Stream(str(tmp_path), "meta.body").head(9) == ["x", "y z"]
    with pytest.raises(
        ValueError, match=r"a.jsonl:1: no column 'meta.title' for text; it has id, meta"
    ):
        Stream(str(tmp_path), "meta.title").head(1)


def test_files_of_a_store_are_read_like_those_here(shards):
    import fsspec

    here = Stream(str(shards(2)))
    store = fsspec.filesystem("memory")
    for address, _ in here.files:
        name = address.removeprefix("file://")
        with open(name, "rb") as file:
            store.pipe(f"/bucket/{name.rpartition('/')[2]}", file.read())
    there = Stream("memory://bucket/*.jsonl.gz")
    assert there.n_shard == 2
    assert [list(there.documents(shard, 5)) for shard in range(2)] == [
        list(here.documents(shard, 5)) for shard in range(2)
    ]
    store.rm("/bucket", recursive=True)


@pytest.mark.parametrize(
    ("ending", "called"), [("gz", "gzip"), ("bz2", "bzip2"), ("xz", "xz"), ("zst", "Zstandard")]
)
def test_a_packed_file_that_is_cut_off_is_named(ending, called, tmp_path):
    lines = b"".join(b'{"text": "%d"}\n' % (i * 7919) for i in range(20_000))
    packed = PACK[f".{ending}"](lines)
    for data in (packed[:-20], packed[: len(packed) // 2], b"not packed at all"):
        path = tmp_path / f"a.jsonl.{ending}"
        path.write_bytes(data)
        with pytest.raises(
            ValueError,
            match=rf"a.jsonl.{ending}: not a complete {called} file \(.*\); get it again",
        ):
            list(Stream(str(path)).documents(0))
        with pytest.raises(ValueError, match=rf"a.jsonl.{ending}: not a complete {called} file"):
            read_file(path)
    path.write_bytes(packed)
    assert read_file(path) == lines


@pytest.mark.parametrize("ending", ["gz", "bz2", "xz", "zst"])
def test_what_stands_for_a_packed_file_is_named(ending, tmp_path):
    path = tmp_path / f"a.csv.{ending}"
    for data, words in (
        (b"version https://git-lfs.github.com/spec/v1\noid", "is a pointer of Git LFS"),
        (b"\n<!DOCTYPE html>\n", "is a web page"),
    ):
        path.write_bytes(data)
        for road in (lambda: Stream(str(path)).head(1), lambda: read_file(path)):
            with pytest.raises(ValueError, match=rf"a.csv.{ending}: {words}"):
                road()


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A folder that `datasets` takes for the data set owner/name of the hub."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "hf"))
    folder = tmp_path / "set"
    folder.mkdir()
    for name in ("load_dataset", "load_dataset_builder"):
        real = getattr(datasets, name)
        monkeypatch.setattr(
            datasets,
            name,
            lambda path, *rest, real=real, **named: real(str(folder), *rest, **named),
        )
    return folder


def test_a_data_set_of_the_hub_is_checked_like_a_file(hub):
    rows = [
        '{"text": "a", "n": 1.5}',
        '{"text": null, "n": 2.0}',
        r'{"text": "c\u0000", "n": null}',
        '{"text": "d", "n": 3.0}',
    ]
    for i in range(2):
        (hub / f"train-{i}.jsonl").write_text("\n".join(rows[2 * i : 2 * i + 2]) + "\n")
    stream = Stream("owner/name", empty="keep")
    assert stream.n_shard == 2
    assert list(stream.documents(0)) == ["a", ""]
    assert list(stream.documents(1, 1)) == ["d"]
    with pytest.raises(ValueError, match="owner/name: train, part 2, row 1: text has a NUL"):
        list(stream.documents(1))
    assert Stream("owner/name", "n", empty="keep").head(9) == ["1.5", "2.0", "", "3.0"]
    with pytest.raises(ValueError, match="owner/name has no column 'body'; it has text, n"):
        _ = Stream("owner/name", "body").n_shard


def test_cells_of_a_data_set_of_the_hub_are_as_they_are_written(hub):
    rows = [["null", "007"], ["NA", "1.50"], ["two\nlines", "1e5"], ["a\rb", "nan"], ["", ""]]
    with (hub / "train.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["text", "n"], *rows])
    for i, column in enumerate(("text", "n")):
        assert (
            Stream("owner/name", column, empty="keep").head(9)
            == Stream(str(hub), column, empty="keep").head(9)
            == [row[i] for row in rows]
        )


def test_a_stream_without_texts_says_so(tmp_path, tokenizer):
    (tmp_path / "a.txt").write_text("  \n\n\t\n")
    with pytest.raises(ValueError, match=r"has no text in 1 files"):
        next(
            ShardedStreams(
                Stream(str(tmp_path / "a.txt"), empty="drop"), tokenizer, CONTEXT, BATCH, n_lane=4
            ).read(1)
        )
