"""The tables of users that a machine carries: Little's law, and pages with and without a record."""

from pathlib import Path

import pytest

from docs.generate import benchmarks
from docs.generate.language import language_of_texts
from docs.generate.serving_capacity import MODELS, PAUSE, WAITS, Load, most_users
from tests.benchmarks.serving import CLIENTS, PEER_CLIENTS
from tests.support.serving_record import write_record


@pytest.mark.parametrize(("n_user", "answer", "pause"), [(7, 2, 5), (12, 3, 30), (5, 1, 0)])
def test_the_number_of_users_is_that_of_a_simulation(n_user: int, answer: int, pause: int) -> None:
    """Users ask, wait for `answer` seconds and pause for `pause` seconds, for many rounds."""
    period = answer + pause
    asks = [user * period / n_user + period * k for user in range(n_user) for k in range(1000)]
    took = 1000 * period
    requests = len(asks) / took
    n_under_way = sum(answer for _ in asks) / took  # on average over time
    assert n_under_way + requests * pause == pytest.approx(n_user)
    load = Load("model", 1, requests, 0.0, None, answer)
    assert load.users(pause) == int(1 + requests * pause)


def test_no_load_counts_in_which_requests_wait_too_long() -> None:
    found = [
        Load("model", n, requests, 0.0, first, 99.0)
        for n, requests, first in ((1, 4, 0.1), (8, 30, 0.6), (64, 31, 3.0))
    ]
    users = [load.users(PAUSE) for load in found]
    assert [most_users(found, wait) for wait in WAITS] == [users[0], users[1], users[1], users[2]]
    assert most_users(found, 0.05) is None


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(benchmarks, "RESULTS", tmp_path)
    monkeypatch.setattr(benchmarks, "ROOT", tmp_path)
    return tmp_path / "serving.json"


@pytest.mark.parametrize("language", ["en", "zh"])
def test_pages_have_the_tables_as_soon_as_there_is_a_record(language: str, results: Path) -> None:
    with language_of_texts(language):
        for text in (benchmarks.capacity(), benchmarks.tables_to_come("serving")):
            assert "make bench ONLY=serving" in text
            assert "|" not in text
        write_record(results)
        capacity, section = benchmarks.capacity(), benchmarks.tables_to_come("serving")
    rows = [line for line in capacity.splitlines() if line.startswith("| ")]
    assert len(rows) == 2 + len(MODELS) + 2 + len(MODELS) * len(CLIENTS)
    most = f"{max(CLIENTS) + 2 * max(CLIENTS) * PAUSE:,}"
    assert most in rows[2]  # the first part comes in 0.64 s
    assert most not in rows[3]  # the whole comes in 6.4 s
    n_row = len(MODELS) * (len(CLIENTS) + len(PEER_CLIENTS))
    assert len([line for line in section.splitlines() if line.startswith("| ")]) == 2 + n_row
    if language == "zh":
        assert not {"users", "model", "requests", "wait"} & set(capacity.replace("/", " ").split())
