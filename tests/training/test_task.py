import copy

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger
from torch.nn import functional as F
from torchmetrics.text import CharErrorRate, Perplexity

from lslm_lightning.configuration.signatures import settings_of
from lslm_lightning.metrics.error_rate import CharacterErrorRate
from lslm_lightning.optim import Constant
from lslm_lightning.renamed import TASK_METHODS
from lslm_lightning.tracking import Tracker
from lslm_lightning.training.callbacks.checkpoints import Checkpoints
from lslm_lightning.training.callbacks.evaluation import EvaluationCallback, RunEvaluationCallback
from lslm_lightning.training.token_gradients import micro_batch_seed
from tasks.language_modeling.task import LanguageModelingTask
from tasks.question_answering.extractive.task import SpanTask
from tasks.speech_recognition.task import SpeechRecognitionTask
from tasks.translation.task import TranslationTask
from tests.training.conftest import fit, language_task, translation_task


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=1.0)


PLAIN = {"optimizer": sgd, "schedule": Constant(0), "dropout": 0.0}


def weights(task):
    return torch.cat([p.detach().flatten() for p in task.parameters()])


@pytest.mark.slow
def test_gradient_is_that_of_the_mean_over_the_tokens_of_the_whole_window(translation_data):
    """Accumulation over ragged batches, checked against one backward pass over all of them."""
    data = translation_data(max_tokens=60)
    task = translation_task(data, **PLAIN).double()
    expected = copy.deepcopy(task)
    fit(task, data, max_steps=1, accumulate_grad_batches=3, precision="64-true")
    stream = data.train_stream
    pairs = data.encoded("train")
    batches = [pairs[stream[i]] for i in range(3)]
    n_token = [b.n_token for b in batches]
    assert len(set(n_token)) > 1, "the batches must be ragged for this to prove anything"
    (sum(expected.loss(b) for b in batches) / sum(n_token)).backward()
    with torch.no_grad():
        for p in expected.parameters():
            p -= p.grad
    torch.testing.assert_close(weights(task), weights(expected), rtol=0, atol=1e-12)


def test_n_token_counts_what_the_loss_sums(translation_data, text_data):
    data = translation_data()
    pairs = data.encoded("train")
    batch = pairs[[0, 5, 17]]
    assert batch.n_token == int((batch.target[:, 1:] != data.tokenizer.pad_id).sum())
    assert batch.n_source_token == int((~batch.source_pad).sum())
    windows = text_data().packed("val")
    last = windows[[len(windows.ids) - 5]]
    assert last.n_token == int((last.ids[:, 1:] != data.tokenizer.pad_id).sum()) == 4


@pytest.mark.slow
def test_validation_never_changes_training(translation_data, tmp_path):
    from lslm_lightning.runs import RunDirectory

    ends = []
    for validate in (False, True):
        data = translation_data()
        task = translation_task(data)
        settings = {"limit_val_batches": 1.0, "val_check_interval": 2} if validate else {}
        directory = RunDirectory(tmp_path / "run")
        callbacks = (
            [RunEvaluationCallback(directory, Tracker("translation", "run", directory.path))]
            if validate
            else []
        )
        trainer = fit(task, data, callbacks, max_steps=6, **settings)
        ends.append(weights(task))
    assert "val/bleu" in trainer.callback_metrics
    assert torch.equal(*ends)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["translation", "text"])
@pytest.mark.parametrize("stop", [2, 5, 6])
def test_straight_equals_stopped_and_resumed_bit_for_bit(
    kind, stop, translation_data, text_data, tmp_path
):
    def make():
        if kind == "translation":
            data = translation_data(max_tokens=400)
            return data, translation_task(data)
        data = text_data(batch_size=8)
        return data, language_task(data)

    common = {"accumulate_grad_batches": 2, "limit_val_batches": 1.0, "val_check_interval": 2}
    data, straight = make()
    trainer = fit(straight, data, [Checkpoints(tmp_path / "a")], max_steps=9, **common)
    assert trainer.current_epoch > 0, "more than an epoch, or resuming is too easy"
    data, first = make()
    fit(first, data, [Checkpoints(tmp_path / "b")], max_steps=stop, **common)
    data, second = make()
    fit(
        second,
        data,
        [Checkpoints(tmp_path / "b")],
        ckpt_path=str(tmp_path / "b" / "last.ckpt"),
        max_steps=9,
        **common,
    )
    assert torch.equal(weights(second), weights(straight))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["translation", "text"])
def test_a_few_examples_are_learned_by_heart(kind, translation_data, text_data):
    def adam(parameters):
        return torch.optim.AdamW(parameters, lr=1e-2, weight_decay=0.0)

    settings = {"optimizer": adam, "schedule": Constant(0), "dropout": 0.0}
    data = translation_data() if kind == "translation" else text_data()
    task = (
        translation_task(data, **settings)
        if kind == "translation"
        else language_task(data, **settings)
    )
    batch = (
        data.encoded("train")[[3, 9, 5]] if kind == "translation" else data.packed("train")[[0, 40]]
    )
    optimizer = adam(task.parameters())
    for _ in range(300):
        optimizer.zero_grad()
        (task.loss(batch) / batch.n_token).backward()
        optimizer.step()
    task.eval()
    assert float(task.loss(batch) / batch.n_token) < 0.05
    if kind == "translation":
        rows = data.corpus.rows("train")
        answers = task.answer([data.to_example(rows[i]) for i in (3, 9, 5)])
        assert [a.output for a in answers] == [rows[i]["de"] for i in (3, 9, 5)]


@pytest.mark.slow
def test_validation_loss_is_exact_over_the_split_and_never_smoothed(translation_data):
    data = translation_data()
    task = translation_task(data, label_smoothing=0.5, optimizer=sgd, schedule=Constant(0))
    trainer = fit(task, data, max_steps=1, limit_val_batches=1.0, val_check_interval=1)
    task.eval()
    total = n = 0.0
    for row in data.corpus.rows("val"):
        source = torch.tensor([[*data.tokenizer.encode(row["en"]), data.tokenizer.eos_id]])
        target = torch.tensor(
            [[data.tokenizer.bos_id, *data.tokenizer.encode(row["de"]), data.tokenizer.eos_id]]
        )
        memory = task.backbone.encode(task.embedding(source))
        y, _ = task.backbone.decode(task.embedding(target[:, :-1]), memory=memory)
        total += float(
            F.cross_entropy(task.head(y, task.embedding.weight)[0], target[0, 1:], reduction="sum")
        )
        n += target.size(1) - 1
    assert float(trainer.callback_metrics["val/loss"]) == pytest.approx(total / n, rel=1e-5)


@pytest.mark.slow
def test_a_loss_that_is_not_finite_stops_at_once_and_says_where(translation_data):
    data = translation_data()
    task = translation_task(
        data, optimizer=lambda p: torch.optim.SGD(p, lr=1e30), schedule=Constant(0)
    )
    with pytest.raises(ArithmeticError, match=r"the loss is (nan|inf) at step [1-3]"):
        fit(task, data)


@pytest.mark.slow
@pytest.mark.parametrize("stop", [4, 6, 8])
@pytest.mark.parametrize("interval", [3, 4])
def test_a_training_that_ended_within_an_epoch_goes_on_within_it(
    stop, interval, text_data, tmp_path
):
    """Two epochs of six batches are twelve steps, wherever a limit on the steps came between."""
    common = {"limit_train_batches": 6, "limit_val_batches": 1.0, "val_check_interval": interval}
    ends = []
    for limits in ([-1], [stop, -1]):
        for max_steps in limits:
            data = text_data()
            path = tmp_path / str(len(limits)) / "last.ckpt"
            task = language_task(data, schedule=Constant(0))
            start = str(path) if path.exists() else None
            trainer = fit(
                task,
                data,
                [Checkpoints(path.parent)],
                start,
                max_steps=max_steps,
                max_epochs=2,
                **common,
            )
        ends.append((trainer.global_step, trainer.current_epoch, weights(task)))
    assert ends[0][:2] == ends[1][:2] == (12, 2)
    assert torch.equal(ends[0][2], ends[1][2])


def test_micro_batches_have_seeds_of_their_own():
    seeds = [micro_batch_seed(seed, number) for seed in range(3) for number in range(100)]
    assert len(set(seeds)) == 300
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_language_model_with_an_encoder_is_refused(text_data):
    from lslm_lightning.models.transformer import Transformer

    with pytest.raises(ValueError, match="n_encoder_layer=1 must be 0"):
        LanguageModelingTask(Transformer(16, 2, 1, 1), text_data().tokenizer)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["translation", "text"])
def test_any_trainer_of_lightning_gives_the_scores(kind, translation_data, text_data, tmp_path):
    data = translation_data() if kind == "translation" else text_data()
    task = translation_task(data) if kind == "translation" else language_task(data)
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=1,
        limit_train_batches=2,
        default_root_dir=tmp_path,
        logger=CSVLogger(tmp_path),
    )
    trainer.fit(task, datamodule=data)
    names = {m.name for m in task.metrics("en")}
    validated = {f"val/{name}" for name in names} | {"val/loss"}
    if kind == "translation":
        assert validated <= trainer.callback_metrics.keys()
    assert "val/loss" in trainer.callback_metrics
    [tested] = trainer.test(task, datamodule=data, verbose=False)
    assert {f"test/{name}" for name in names} <= tested.keys()
    evaluation = next(c for c in trainer.callbacks if isinstance(c, EvaluationCallback))
    assert tested[f"test/{task.headline}"] == pytest.approx(
        evaluation.result[task.headline].value, rel=1e-6
    )
    assert sum(isinstance(c, EvaluationCallback) for c in trainer.callbacks) == 1
    answered = [
        prediction.id for batch in trainer.predict(task, datamodule=data) for prediction in batch
    ]
    assert sorted(answered) == sorted(example.id for example in data.examples("test"))


def test_a_task_of_the_last_release_says_its_modality_by_the_old_name() -> None:
    with pytest.warns(FutureWarning, match=r"Old\.reads is now called modality"):

        class Old(TranslationTask):
            reads = "picture"

    assert (Old.modality, TranslationTask.modality) == ("picture", "text")


def test_extra_metrics_stand_behind_those_of_the_task(translation_data) -> None:
    data = translation_data()
    own = [metric.name for metric in translation_task(data).answering.all_metrics("zh")]
    task = translation_task(data, extra_metrics=[CharErrorRate(), CharacterErrorRate()])
    assert [metric.name for metric in task.answering.all_metrics("zh")] == [
        *own,
        "CharErrorRate",
        "cer",
    ]
    assert task.validation.names(data)[-2:] == ["val/CharErrorRate", "val/cer"]
    with pytest.raises(ValueError, match="Perplexity reads logits"):
        translation_task(data, extra_metrics=[Perplexity()])


def test_the_parts_of_a_copied_task_belong_to_the_copy(translation_data) -> None:
    task = translation_task(translation_data())
    other = copy.deepcopy(task)
    names = ("answering", "validation", "requirements", "report", "model_info", "training_state")
    assert all(getattr(other, name).task is other for name in names)
    assert all(getattr(task, name).task is task for name in names)


def test_constructors_of_tasks_show_one_default_optimizer() -> None:
    shown = {
        setting.shown_default
        for kind in (TranslationTask, LanguageModelingTask, SpeechRecognitionTask, SpanTask)
        for setting in settings_of(f"{kind.__module__}.{kind.__name__}")
        if setting.name == "optimizer"
    }
    assert shown == {"AdamW(lr=0.001, weight_decay=0.01, fused=true)"}


@pytest.mark.parametrize("old", TASK_METHODS)
def test_a_method_that_nothing_calls_any_more_is_refused(old: str) -> None:
    """Its component has the method that is called, under the name that the message gives."""
    with pytest.raises(TypeError, match=rf"Old\.{old} is not called any more: override") as told:
        type("Old", (TranslationTask,), {old: lambda self: None})
    component, _, rest = str(told.value).rpartition("override ")[2].partition(".")
    method, _, attribute = rest.partition(", in ")
    owner = getattr(TranslationTask, attribute)
    assert component in {kind.__name__ for kind in owner.__mro__}
    assert hasattr(owner, method)


def test_the_hook_that_runs_is_named_on_a_task_and_layers_stay_registered(text_data):
    task = language_task(text_data())
    task._current_fx_name = "training_step"
    task.extra = torch.nn.Linear(1, 1)
    assert task._current_fx_name == "training_step"
    assert "extra.weight" in dict(task.named_parameters())
    del task._current_fx_name
    assert "_current_fx_name" not in vars(task)
