"""Summaries, answers, log probabilities and transcripts."""

import math
from pathlib import Path

import openai
import pytest

from lslm_lightning.experiments.generation import SearchSettings
from lslm_lightning.serving.limits import ServingLimits
from lslm_lightning.serving.protocol import Answered, AnswerRequest, ScoreRequest, ServingError
from lslm_lightning.serving.task_routes import exact
from tests.serving.http_server import RunningServer, Served
from tests.serving.small_engine import log_p

TRANSCRIBE = "/v1/audio/transcriptions"


def test_texts_are_summarized(site: Served) -> None:
    one = site.client.post("/summarize", json={"text": "long"}).json()
    two = site.client.post("/summarize", json={"text": ["long", "longer"], "beam_size": 2}).json()
    assert one == {"summary": "LONG", "model": "headlines"}
    assert two["summary"] == ["LONG", "LONGER"]
    assert site.engine.requests[-1].settings.beam_size == 2


def test_a_question_is_asked_as_lslm_generate_takes_it(site: Served) -> None:
    asked = {"question": "who\nwas it?", "context": "Ada\nwas."}
    found = site.client.post("/answer", json=asked).json()
    request = site.engine.requests[-1]
    assert isinstance(request, AnswerRequest)
    assert request.source == "who was it?\nAda\nwas."
    assert request.settings == SearchSettings()
    assert (found["start"], found["end"]) == (0, 3)
    assert found["no_answer_score"] == -1.5
    assert found["model"] == "questions"
    assert site.client.post("/answer", json=asked | {"question": " "}).status_code == 400


def test_a_model_that_does_not_write_gets_no_limit_of_tokens() -> None:
    served = Served(ServingLimits(max_tokens=5))
    served.client.post("/answer", json={"question": "who?", "context": "Ada"})
    assert served.engine.requests[-1].settings == SearchSettings()
    served.client.post("/summarize", json={"text": "a"})
    assert served.engine.requests[-1].settings == SearchSettings(max_length=5)


def test_texts_and_answers_are_scored(site: Served) -> None:
    whole = site.client.post("/log_prob", json={"text": ["ab", "c"]}).json()
    expected = [sum(map(log_p, text)) for text in ("ab", "c")]
    assert [each["log_prob"] for each in whole["scores"]] == pytest.approx(expected)
    assert [each["n_token"] for each in whole["scores"]] == [2, 1]
    long = "h" * 20_000  # whose log p is below the least that OpenAI's answers have for a token
    scores = site.client.post("/log_prob", json={"text": long}).json()["scores"]
    assert scores[0]["log_prob"] == pytest.approx(len(long) * log_p("h"))
    assert [exact(each) for each in (None, -math.inf, math.nan)] == [None] * 3
    request = site.engine.requests[-1]
    assert isinstance(request, ScoreRequest)
    assert request.source is None
    asked = {"source": "x", "answers": ["ab"], "model": "en-zh"}
    after = site.client.post("/log_prob", json=asked).json()
    assert after["model"] == "en-zh"
    assert site.engine.requests[-1].source == "x"


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"source": "a"},
        {"text": "a", "answers": ["b"]},
        {"text": "a", "source": "b"},
        {"answers": []},
        {"text": "a", "model": "en-zh"},
        {"text": "a", "model": "digits-of-nobody"},
    ],
)
def test_scores_need_texts_or_answers(site: Served, fields: dict) -> None:
    assert site.client.post("/log_prob", json=fields).status_code in (400, 404)
    assert not site.engine.requests


def test_a_sound_reaches_the_engine_and_is_deleted(site: Served) -> None:
    seen: list[bytes] = []
    answer = site.engine.answer

    async def look(request: AnswerRequest) -> object:
        assert isinstance(request.source, str)
        seen.append(Path(request.source).read_bytes())
        return await answer(request)

    site.engine.answer = look  # type: ignore[assignment,method-assign]
    sound = b"RIFF" * 500_000  # more than one block
    files = {"file": ("../../etc/a.FLAC", sound)}
    reply = site.client.post(TRANSCRIBE, files=files, data={"model": "digits"})
    assert reply.status_code == 200
    path = Path(site.engine.requests[-1].source)
    assert seen == [sound]
    assert not path.exists()
    assert path.suffix == ".flac"
    assert "etc" not in path.parts


def test_openais_client_transcribes(running: RunningServer) -> None:
    with openai.OpenAI(base_url=f"{running.url}/v1", api_key="none", max_retries=0) as client:
        asked = {"model": "digits", "file": ("a.wav", b"RIFF"), "language": "en"}
        found = client.audio.transcriptions.create(**asked)
        assert found.text.endswith(".WAV")
        text = client.audio.transcriptions.create(**asked, response_format="text")
        assert text.strip().endswith(".WAV")
        with pytest.raises(openai.BadRequestError) as failed:
            client.audio.transcriptions.create(**asked, response_format="srt")
        assert failed.value.param == "response_format"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"model": "frames"}, "model"),
        ({"model": "letters"}, "model"),
        ({"language": "zh"}, "language"),
        ({"prompt": "names"}, "prompt"),
        ({"timestamp_granularities[]": "word"}, "timestamp_granularities[]"),
        ({"temperature": "hot"}, "temperature"),
        ({"foo": "1"}, "foo"),
    ],
)
def test_a_wrong_field_of_a_transcription_is_refused(
    site: Served, fields: dict[str, str], field: str
) -> None:
    files = {"file": ("a.wav", b"RIFF")}
    reply = site.client.post(TRANSCRIBE, files=files, data={"model": "digits", **fields})
    assert reply.status_code == 400
    error = reply.json()["error"]
    assert error["param"] == field
    assert error["code"] == (None if field in ("temperature", "foo") else "unsupported_value")
    assert not site.engine.requests


def test_a_transcription_needs_a_file(site: Served) -> None:
    for body in ({"json": {"model": "digits"}}, {"data": {"file": "a.wav"}}):
        reply = site.client.post(TRANSCRIBE, **body)
        assert reply.status_code == 400
        assert "file" in reply.json()["error"]["message"]


def test_an_error_of_a_sound_names_its_field_and_no_path_of_the_server(
    site: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(request: AnswerRequest) -> Answered:
        raise ServingError(f"{request.source} is cut off: 4 of 9 bytes are there")

    monkeypatch.setattr(site.engine, "_answered", broken)
    files = {"file": ("a.wav", b"RIFF")}
    reply = site.client.post(TRANSCRIBE, files=files, data={"model": "digits"})
    assert reply.status_code == 400
    assert reply.json()["error"]["message"] == "file is cut off: 4 of 9 bytes are there"
    assert reply.json()["error"]["param"] == "file"
