import json
import multiprocessing
import os
import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lslm_lightning.contracts import Alternative, Prediction, Token
from lslm_lightning.evaluation.predictions import (
    PredictionFile,
    read_predictions,
    write_predictions,
)
from tests.support.waiting import PATIENCE

PREDICTIONS = [
    Prediction("1", output="plain"),
    Prediction("二", output="你好\u2028\n\r\x00</script>🏽", n_token=4, seconds=0.25),
    Prediction("3", nats=12.5, n_token=7, unknown=2),
    Prediction("4", output="", nats=float("inf")),
    Prediction("5", nats=2.5, tokens=(Token(0, 1.0, 1), Token(0, 1.5, 2))),
    Prediction("6", nats=2.5, n_token=3, unknown=1, spelling=11.25),
    Prediction("7", nats=2.5, n_token=3, spelling=0.0),
    Prediction("9", output="half an answ", n_token=3, finish_reason="length"),
    Prediction(
        "8", output="", nats=0.5, alternatives=(Alternative("", 0.5), Alternative("你好", 1.25))
    ),
]


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "new" / "test.jsonl"
    write_predictions(path, PREDICTIONS)
    assert read_predictions(path) == PREDICTIONS
    assert [file.name for file in path.parent.iterdir()] == ["test.jsonl"]
    lines = path.read_bytes().decode().split("\n")
    assert len(lines) == len(PREDICTIONS) + 1
    assert json.loads(lines[0]) == {"id": "1", "output": "plain"}
    assert "你好" in lines[1]


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=9), min_size=1, max_size=5))
def test_any_text_comes_back(tmp_path_factory, outputs):
    path = tmp_path_factory.mktemp("p") / "p.jsonl"
    predictions = [Prediction(str(i), output=output) for i, output in enumerate(outputs)]
    write_predictions(path, predictions)
    assert read_predictions(path) == predictions


def test_writing_replaces_and_repeated_ids_keep_the_first(tmp_path):
    path = tmp_path / "p.jsonl"
    write_predictions(path, PREDICTIONS)
    write_predictions(path, [Prediction("a", output="1"), Prediction("a", output="2")])
    assert read_predictions(path) == [Prediction("a", output="1")]
    path.write_text('{"id": "x", "output": "1"}\n{"id": "x", "output": "2"}\n')
    assert read_predictions(path) == [Prediction("x", output="1")]


def test_an_interrupted_file_is_continued(tmp_path):
    path = tmp_path / "p.jsonl"
    file = PredictionFile(path).__enter__()
    file.write(PREDICTIONS[0])
    file.__exit__(RuntimeError, RuntimeError("stopped"), None)
    assert not path.exists()
    with PredictionFile(path) as file:
        assert list(file.done) == ["1"]
        for prediction in PREDICTIONS:
            file.write(prediction)
    assert read_predictions(path) == PREDICTIONS
    with PredictionFile(path) as file:  # a finished one, too
        assert len(file.done) == len(PREDICTIONS)
        file.write(Prediction("5", output="more"))
    assert len(read_predictions(path)) == len(PREDICTIONS), (
        "an id that is there is not written again"
    )


N_WRITTEN = 100


def _write_until_killed(path, told):
    with PredictionFile(path) as file:
        for i in range(1_000_000):
            file.write(Prediction(str(i), output="x" * 200))
            if i == N_WRITTEN:
                told.set()


@pytest.mark.slow
def test_a_kill_loses_nothing_that_was_written(tmp_path, caplog):
    path = tmp_path / "p.jsonl"
    context = multiprocessing.get_context("fork")  # which has imported all
    told = context.Event()
    process = context.Process(target=_write_until_killed, args=(path, told))
    process.start()
    partial = tmp_path / "p.jsonl.partial"
    assert told.wait(PATIENCE)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    written = partial.read_bytes()
    # the last line torn, as a full disk would
    partial.write_bytes(written[: written.rfind(b"\n") - 50])
    n_whole = written.count(b"\n") - 1
    assert n_whole >= N_WRITTEN
    with PredictionFile(path) as file:
        assert list(file.done) == [str(i) for i in range(n_whole)]
        file.write(Prediction("last", output="y"))
    assert "last line is incomplete" in caplog.text
    assert [prediction.id for prediction in read_predictions(path)][-2:] == [
        str(n_whole - 1),
        "last",
    ]


def test_a_torn_last_line_is_dropped_and_said(tmp_path, caplog):
    path = tmp_path / "p.jsonl"
    path.write_text('{"id": "1", "output": "a"}\n{"id": "2", "out')
    assert read_predictions(path) == [Prediction("1", output="a")]
    assert "p.jsonl: the last line is incomplete" in caplog.text
    caplog.clear()
    # whole, only without a line end
    path.write_text('{"id": "1", "output": "a"}\n\n{"id": "2", "output": "b"}')
    assert len(read_predictions(path)) == 2
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: Expecting property name"),
        ("[1]", 'line 2: expected a JSON object with "id"'),
        ('{"output": "a"}', 'line 2: expected a JSON object with "id"'),
        ('{"id": 7, "output": "a"}', "line 2: id=7 must be a string"),
        ('{"id": "7", "n_token": true}', "line 2: n_token=True must be an integer"),
        (
            '{"id": "7", "output": "a", "finish_reason": 3}',
            "line 2: finish_reason=3 must be a string or null",
        ),
        ('{"id": "7"}', "line 2: prediction '7' has neither output nor nats"),
        ('{"id": "7", "n_token": 3}', "line 2: prediction '7' has neither output nor nats"),
        ('{"id": "7", "text": "a"}', r"line 2: \['text'\] is not known"),
        ('{"id": "7", "output": "a", "output": "b"}', "line 2: the key 'output' stands twice"),
        ('{"id": "7", "nats": NaN}', "line 2: nats=NaN is no number"),
        (
            r'{"id": "7", "output": "dr\ud83d"}',
            r"line 2: it has half a surrogate pair, \\ud83d, at character 3",
        ),
    ],
)
def test_a_wrong_line_is_named(tmp_path, line, message):
    path = tmp_path / "p.jsonl"
    path.write_text(f'{{"id": "1", "output": "a"}}\n{line}\n')
    with pytest.raises(ValueError, match=message):
        read_predictions(path)
    path.write_bytes(b'{"id": "1", "output": "\xff"}\n')
    with pytest.raises(ValueError, match="line 1: 'utf-8' codec"):
        read_predictions(path)


def test_what_is_no_answer_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="prediction 'a' with neither output nor nats: generate"):
        write_predictions(tmp_path / "p.jsonl", [Prediction("a")])
    with pytest.raises(ValueError, match="prediction 'a' has nats=nan"):
        write_predictions(tmp_path / "p.jsonl", [Prediction("a", nats=float("nan"))])
    half = [
        Prediction("a", output="x \ud83d"),
        Prediction("a", output="\udfff y"),
        Prediction("a", nats=1.0, output="", alternatives=(Alternative("\ud800", 1.0),)),
        Prediction("\ud83d", output=""),
    ]
    for prediction in half:
        with pytest.raises(
            ValueError, match=r"has half a surrogate pair, \\u[\da-f]{4}, at character"
        ):
            write_predictions(tmp_path / "p.jsonl", [prediction])
    assert not list(tmp_path.iterdir())


def test_a_failed_writing_leaves_the_old_file(tmp_path):
    write_predictions(tmp_path / "p.jsonl", PREDICTIONS)
    with pytest.raises(ValueError, match="neither output nor nats"):
        write_predictions(tmp_path / "p.jsonl", [Prediction("a", output="x"), Prediction("b")])
    assert read_predictions(tmp_path / "p.jsonl") == PREDICTIONS
