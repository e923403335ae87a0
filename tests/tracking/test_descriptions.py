"""Descriptions of this project are known from those of people, and never replace these."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow import MlflowClient

from lslm_lightning.tracking import Tracker
from lslm_lightning.tracking.descriptions import DESCRIPTION, is_own, sign

LONGEST = 8000


@given(st.text(max_size=300))
def test_what_was_signed_may_be_replaced_until_it_is_edited(text: str) -> None:
    signed = sign(text, LONGEST)
    assert is_own(signed)
    assert not is_own(f"Mine. {signed}")
    assert not is_own(f"{signed}\nMine.")
    assert not is_own(signed.replace(" -->", "") + "Mine.")


@pytest.mark.parametrize("text", ["", " \n"])
def test_what_is_empty_may_be_replaced(text: str) -> None:
    assert is_own(text)


@given(st.text(st.characters(categories=["L", "Z"]), min_size=1).filter(str.strip))
def test_what_a_person_wrote_may_not(text: str) -> None:
    assert not is_own(text)


def test_a_long_one_is_cut_at_a_line_and_stays_known() -> None:
    signed = sign("line\n" * 5000, LONGEST)
    assert len(signed) <= LONGEST
    assert is_own(signed)
    assert "line\n\n..." in signed


def begun(directory: Path, **settings: object) -> Tracker:
    tracker = Tracker("toy", directory.name, directory, system_metrics=False, **settings)
    tracker.start()
    return tracker


def shown(tracker: Tracker) -> str:
    tracker.end("FINISHED")
    return MlflowClient(tracker.store.uri).get_run(tracker.version).data.tags[DESCRIPTION]


def test_the_last_description_stands(store: Path, run_directory: Path) -> None:
    tracker = begun(run_directory)
    tracker.set_description("Not tested yet.")
    tracker.set_description("**BLEU** is 12.")
    assert shown(tracker).startswith("**BLEU** is 12.")


@pytest.mark.slow
def test_what_a_person_wrote_on_the_page_stays(store: Path, run_directory: Path) -> None:
    tracker = begun(run_directory)
    tracker.set_description("Not tested yet.")
    assert tracker.flush()
    tracker.client.set_tag(tracker.version, DESCRIPTION, "The one for the paper.")
    tracker.set_description("**BLEU** is 12.")
    assert shown(tracker) == "The one for the paper."
    again = begun(run_directory, run_id=tracker.version)
    again.set_description("**BLEU** is 13.")
    again.restore_description()
    assert shown(again) == "The one for the paper."


def test_a_description_that_the_user_gave_as_a_tag_stays(store: Path, run_directory: Path) -> None:
    tracker = begun(run_directory, tags={DESCRIPTION: "mine"})
    tracker.set_description("ours")
    assert shown(tracker) == "mine"


@pytest.mark.slow
def test_it_comes_to_another_store_with_the_run(
    store: Path, run_directory: Path, project: Path
) -> None:
    tracker = begun(run_directory)
    tracker.set_description("**BLEU** is 12.")
    first = shown(tracker)
    other = begun(
        run_directory,
        run_id=tracker.version,
        again=False,
        tracking_uri=f"sqlite:///{project}/other.db",
    )
    other.restore_description()
    assert other.version != tracker.version
    assert shown(other) == first
