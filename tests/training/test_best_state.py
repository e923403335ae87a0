"""The best state of a run is the best by the validation that the run has now, whatever another one
said.
"""

import os

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import EarlyStopping

from lslm_lightning.decoding import Beam
from lslm_lightning.optim import Constant
from lslm_lightning.training.callbacks.checkpoints import Checkpoints
from lslm_lightning.training.callbacks.kept_checkpoints import final_record
from lslm_lightning.training.optimizer_settings import ChangedSettings
from tests.training.conftest import fit, language_task, translation_task

pytestmark = pytest.mark.slow

VALIDATED = {"limit_val_batches": 1.0, "val_check_interval": 1}
SLOW = {"optimizer": lambda p: torch.optim.SGD(p, lr=0.1), "schedule": Constant(0)}
HARMFUL = {"optimizer": lambda p: torch.optim.SGD(p, lr=10.0), "schedule": Constant(0)}


class Believed(Checkpoints):
    """Saves a score that no later one beats."""

    state_key = "Checkpoints"

    def keep(self, trainer, task):
        self.perfect = 1e9 if task.higher_is_better else -1e9
        super().keep(trainer, task)

    def state_dict(self):
        return super().state_dict() | {"best_score": self.perfect}


class Answers(Callback):
    """Stands for the exam of a validation."""

    def on_validation_epoch_end(self, trainer, task):
        task.log("val/bleu", 5.0)


def first_run(make, folder, **settings):
    """A run whose recorded best score no later one could beat."""
    task, data = make()
    fit(task, data, [Answers(), Believed(folder)], max_steps=2, **{**VALIDATED, **settings})


def language(text_data, **settings):
    def make():
        data = text_data()
        return language_task(data, **{**SLOW, **settings}), data

    return make


def translation(translation_data, data=(), **settings):
    def make():
        own = translation_data(**dict(data))
        return translation_task(own, **{**SLOW, **settings}), own

    return make


def goes_on(make, source, folder, capsys, n_step=3, callbacks=(), **settings):
    """Train on from another folder's last state; the best score that is there then, and what was
    said.
    """
    task, data = make()
    checkpoints = Checkpoints(folder)
    path = str(source / "last.ckpt")
    trainer = fit(
        task,
        data,
        [ChangedSettings(), *callbacks, Answers(), checkpoints],
        path,
        max_steps=n_step,
        **{**VALIDATED, **settings},
    )
    checkpoints.finalize(trainer, task)
    return checkpoints, capsys.readouterr().out


@pytest.mark.parametrize("place", ["another run", "the same run"])
@pytest.mark.parametrize(
    "what", ["texts", "limit", "monitor", "examples", "search", "references", "nothing"]
)
def test_a_score_by_another_validation_does_not_win(
    what, place, text_data, translation_data, text, pairs, tmp_path, capsys
):
    before = (
        translation(translation_data)
        if what in ("search", "examples", "references", "nothing")
        else language(text_data)
    )
    after = before
    settings = {}
    first_run(before, tmp_path / "a")
    if what == "texts":
        (text / "val.txt").write_text("eight nine zero " * 30)
    if what == "limit":
        settings = {"limit_val_batches": 2}
    if what == "monitor":
        monitored = language(text_data)

        def after():
            made = monitored()
            made[0].monitor = "val/perplexity"
            return made

    if what == "examples":
        after = translation(translation_data, {"n_validation_example": 3})
    if what == "search":
        after = translation(translation_data, validation_search=Beam(2))
    if what == "references":
        lines = (pairs / "val.de").read_text().splitlines()
        (pairs / "val.de").write_text("\n".join([*lines[1:], lines[0]]) + "\n")
    folder = tmp_path / ("a" if place == "the same run" else "b")
    checkpoints, said = goes_on(after, tmp_path / "a", folder, capsys, **settings)
    if what == "nothing":
        assert abs(checkpoints.best_score) == 1e9, "where nothing changed, the score stays"
        assert "validation settings differ" not in said
        return
    assert abs(checkpoints.best_score) < 1e9
    assert "validation settings differ" in said
    assert "validated again after training" in said
    assert final_record(folder)["best_score"] == checkpoints.best_score
    assert not list(folder.glob("outdated*"))


def test_the_old_best_wins_where_it_is_better_by_the_new_validation(
    text_data, text, tmp_path, capsys
):
    first_run(language(text_data), tmp_path / "a")
    old = torch.load(tmp_path / "a/best.ckpt", weights_only=True)
    (text / "val.txt").write_text("eight nine zero " * 30)
    checkpoints, said = goes_on(
        language(text_data, **HARMFUL), tmp_path / "a", tmp_path / "b", capsys, n_step=4
    )
    best = torch.load(checkpoints.best, weights_only=True)
    assert best["global_step"] == old["global_step"]
    assert all(
        torch.equal(best["state_dict"][name], weight) for name, weight in old["state_dict"].items()
    )
    assert f"earlier validation settings {checkpoints.best_score:.4g}" in said


def test_an_old_best_that_is_not_here_is_set_aside(text_data, text, tmp_path, capsys):
    first_run(language(text_data), tmp_path / "a")
    (text / "val.txt").write_text("eight nine zero " * 30)
    (tmp_path / "a/best.ckpt").unlink()
    checkpoints, said = goes_on(language(text_data), tmp_path / "a", tmp_path / "b", capsys)
    assert abs(checkpoints.best_score) < 1e9
    assert "it is discarded" in said
    assert checkpoints.best.exists()


def test_no_step_left_still_validates_by_the_new_validation(text_data, text, tmp_path, capsys):
    task, data = language(text_data)()
    checkpoints = Checkpoints(tmp_path / "a")
    checkpoints.finalize(fit(task, data, [checkpoints], max_steps=2, **VALIDATED), task)
    (text / "val.txt").write_text("eight nine zero " * 30)
    again, _ = goes_on(language(text_data), tmp_path / "a", tmp_path / "a", capsys, n_step=2)
    assert again.best_score != checkpoints.best_score
    assert (
        final_record(tmp_path / "a")["measured"]
        == again.record.measured_on
        != checkpoints.record.measured_on
    )


def test_a_process_that_dies_before_its_first_validation_loses_no_best_state(
    text_data, text, tmp_path, capsys
):
    """The second one goes on without a validation; the third still has the first one's best to
    validate.
    """
    folder = tmp_path / "a"
    first_run(language(text_data), folder)
    old = torch.load(folder / "best.ckpt", weights_only=True)["global_step"]
    (text / "val.txt").write_text("eight nine zero " * 30)
    task, data = language(text_data, **HARMFUL)()
    path = str(folder / "last.ckpt")
    fit(
        task,
        data,
        [ChangedSettings(), Checkpoints(folder)],
        path,
        max_steps=3,
        limit_val_batches=1.0,
        val_check_interval=100,
    )
    checkpoints, _ = goes_on(language(text_data, **HARMFUL), folder, folder, capsys, n_step=4)
    assert torch.load(checkpoints.best, weights_only=True)["global_step"] == old


@pytest.mark.parametrize("same", [True, False])
def test_a_state_of_an_earlier_release_counts_where_its_config_validates_alike(
    same, text_data, tmp_path, capsys
):
    folder = tmp_path / "a"
    first_run(language(text_data), folder)
    for path in {path.resolve() for path in folder.glob("*.ckpt")}:
        state = torch.load(path, weights_only=True)
        del state["callbacks"]["Checkpoints"]["measured"]
        path.unlink()
        torch.save(state, path)
    task, data = language(text_data)()
    checkpoints = Checkpoints(folder, same_validation=same)
    fit(task, data, [checkpoints], str(folder / "last.ckpt"), max_steps=3, **VALIDATED)
    assert (checkpoints.best_score == -1e9) == same
    assert ("validation settings differ" in capsys.readouterr().out) != same


@pytest.mark.parametrize(("average_of", "n_kept"), [("last", 2), ("best", 0)])
def test_states_to_be_averaged_are_not_chosen_by_old_scores(
    average_of, n_kept, text_data, text, tmp_path
):
    folder = tmp_path / "a"
    task, data = language(text_data)()
    fit(task, data, [Believed(folder, average=2, average_of=average_of)], max_steps=3, **VALIDATED)
    (text / "val.txt").write_text("eight nine zero " * 30)
    seen = []

    class Recording(Checkpoints):
        state_key = "Checkpoints"

        def on_train_start(self, trainer, task):
            seen.append(len(self.numbered))

    task, data = language(text_data)()
    fit(
        task,
        data,
        [Recording(folder, average=2, average_of=average_of)],
        str(folder / "last.ckpt"),
        max_steps=4,
        **VALIDATED,
    )
    assert seen == [n_kept], "the last states are the last by any validation"


def test_what_stops_early_forgets_the_scores_of_another_validation(
    text_data, text, tmp_path, capsys
):
    stop = lambda: EarlyStopping("val/loss", patience=100)  # noqa: E731
    task, data = language(text_data)()
    fit(task, data, [first := stop(), Checkpoints(tmp_path / "a")], max_steps=2, **VALIDATED)
    (text / "val.txt").write_text("eight nine zero " * 30)
    _, said = goes_on(
        language(text_data), tmp_path / "a", tmp_path / "a", capsys, callbacks=[stop()]
    )
    assert "reset: EarlyStopping" in said
    state = torch.load(tmp_path / "a/last.ckpt", weights_only=True)["callbacks"]
    scores = {name.partition("{")[0]: own.get("best_score") for name, own in state.items()}
    assert (
        float(scores["EarlyStopping"])
        == pytest.approx(scores["Checkpoints"])
        != float(first.best_score)
    )


def test_a_last_state_that_is_better_is_not_forgotten_for_the_mean(text_data, tmp_path):
    """A state that is only validated brings no scores of its own."""
    task, data = language(text_data)()
    checkpoints = Checkpoints(tmp_path, average=2)
    trainer = fit(
        task, data, [checkpoints], max_steps=5, limit_val_batches=1.0, val_check_interval=2
    )
    checkpoints.finalize(trainer, task)
    assert torch.load(checkpoints.best, weights_only=True)["global_step"] == 5
    [values] = trainer.validate(
        task, datamodule=data, ckpt_path=str(checkpoints.best), verbose=False, weights_only=True
    )
    assert values["val/loss"] == pytest.approx(checkpoints.best_score)


@pytest.mark.parametrize("start", ["best.ckpt", "last-1.ckpt", "last.ckpt"])
def test_a_mean_is_adopted_with_its_own_score(start, text_data, tmp_path):
    """Another run starts from a state of a run whose best state is a mean, not the newest of its
    states.
    """
    rough = language(text_data, optimizer=lambda p: torch.optim.SGD(p, lr=3.0))
    task, data = rough()
    first = Checkpoints(tmp_path / "a", average=3)
    trainer = fit(task, data, [first], max_steps=5, limit_val_batches=1.0, val_check_interval=2)
    newest = first.best_score
    first.finalize(trainer, task)
    assert torch.load(first.best, weights_only=True)["global_step"] == 4
    assert first.best_score < newest, "the mean is better"
    adopted = []

    class Recording(Checkpoints):
        state_key = "Checkpoints"

        def on_train_start(self, trainer, task):
            adopted.append(self.best_score)

    task, data = rough()
    source = str(tmp_path / "a" / start)
    fit(task, data, [Recording(tmp_path / "b")], source, max_steps=6, limit_val_batches=1.0)
    assert adopted == [first.best_score]


@pytest.mark.parametrize(
    "name", ["../../elsewhere/step-00000002.ckpt", "{}/elsewhere/step-00000002.ckpt"]
)
def test_a_state_names_no_file_elsewhere(tmp_path, name):
    own = Checkpoints(tmp_path / "run/checkpoints", average=2)
    state = own.state_dict() | {"numbered": {name.format(tmp_path): 0.5}}
    own.load_state_dict(state)
    assert own.state_dict()["numbered"] == {"step-00000002.ckpt": 0.5}
    assert [path.parent for path in own.numbered] == [own.directory]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"step": 4}', "[" * 100_000])
def test_a_damaged_record_of_what_was_settled_settles_nothing(tmp_path, content):
    (tmp_path / "settled").write_text(content)
    assert final_record(tmp_path) == {}
    assert not Checkpoints(tmp_path).has_final_best(4)


def test_states_follow_the_umask(text_data, tmp_path):
    before = os.umask(0o002)
    try:
        task, data = language(text_data)()
        fit(task, data, [Checkpoints(tmp_path)], max_steps=1)
    finally:
        os.umask(before)
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.glob("*.ckpt")} == {
        "last.ckpt": 0o664,
        "best.ckpt": 0o664,
    }
