"""An engine in a process of its own: it is killed, and comes again."""

import asyncio
import os
import signal

import pytest

from lslm_lightning.experiments.generation import SearchSettings
from lslm_lightning.serving.engine_client import EngineClient, named
from lslm_lightning.serving.protocol import (
    AnswerPart,
    AnswerRequest,
    EngineSettings,
    ScoreRequest,
    ServingError,
)
from tests.serving.conftest import generated
from tests.support.waiting import PATIENCE

SETTINGS = SearchSettings(search="greedy", max_length=12)


async def is_idle(client: EngineClient) -> None:
    """Wait until an engine answers nothing."""
    while client.load.n_running:
        await asyncio.sleep(0.01)


@pytest.mark.slow
def test_a_killed_engine_refuses_what_it_had_and_soon_answers_again(tiny_run):
    async def use() -> None:
        client = EngineClient(
            [str(tiny_run("rotary")), str(tiny_run("t5"))], EngineSettings(("a", "b"))
        )
        await client.start()
        with pytest.raises(ServingError) as refused:
            await client.answer(AnswerRequest(client.new_id(), "a", source="fox"))
        assert refused.value.kind == "unavailable"
        await asyncio.wait_for(client.wait_ready(), PATIENCE)
        assert [model.name for model in client.models] == ["a", "b"]

        requests = [
            AnswerRequest(client.new_id(), name, source=text, settings=SETTINGS)
            for name in ("a", "b")
            for text in ("fox", "the quick")
        ]
        found = await asyncio.gather(*map(client.answer, requests))
        for request, whole in zip(requests, found, strict=True):
            run = tiny_run({"a": "rotary", "b": "t5"}[request.model])
            assert (
                whole.answers[0].text
                == generated(run, str(request.source), SETTINGS, is_double=False)[0]
            )
        scores = await client.score(ScoreRequest(client.new_id(), "a", answers=("fox",)))
        assert scores.answers[0].log_p < 0

        endless = SearchSettings(search="sampling", max_length=10**6, min_length=10**6)
        request = AnswerRequest(client.new_id(), "a", source="fox", settings=endless, streams=True)
        stream = client.stream(request)
        assert isinstance(await anext(stream), AnswerPart)
        await stream.aclose()  # the client has gone
        await asyncio.wait_for(is_idle(client), PATIENCE)

        stream = client.stream(request)
        await anext(stream)
        assert client._process is not None
        os.kill(client._process.pid or 0, signal.SIGKILL)
        with pytest.raises(ServingError) as refused:
            async for _ in stream:
                pass
        assert refused.value.kind == "unavailable"
        assert not client.is_ready
        await asyncio.wait_for(client.wait_ready(), PATIENCE)
        assert client.n_restart == 1
        again = await client.answer(requests[0])
        assert again.answers[0].text == found[0].answers[0].text
        await client.stop(1)

    asyncio.run(use())


@pytest.mark.slow
def test_a_run_that_cannot_be_loaded_ends_the_start(tmp_path):
    async def use() -> None:
        client = EngineClient([str(tmp_path / "nothing")])
        await client.start()
        with pytest.raises(ServingError, match="nothing"):
            await asyncio.wait_for(client.wait_ready(), PATIENCE)
        await client.stop(0)

    asyncio.run(use())


def test_runs_have_names_of_their_own():
    assert named(["runs/a/x-1", "models:/m@best"], ()) == (
        ("x-1", "runs/a/x-1"),
        ("m@best", "models:/m@best"),
    )
    assert named(["a", "b"], ("c", "d")) == (("c", "a"), ("d", "b"))
    for runs, names in ((["runs/a/x", "runs/b/x"], ()), (["a", "b"], ("c",))):
        with pytest.raises(ServingError):
            named(runs, names)
