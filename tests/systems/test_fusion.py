"""A run whose search asks the language model of another run: n-gram and neural, by Checkpoint, a
config and `lslm generate`.
"""

import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor

from lslm_lightning.__main__ import main
from lslm_lightning.configuration.cli import ConfigParser
from lslm_lightning.contracts import Example, Generator, Metric, Prediction, Scorer
from lslm_lightning.decoding import Beam, CtcGreedy, CtcPrefixBeam, CtcSearch
from lslm_lightning.models.recurrent import LSTM
from lslm_lightning.models.transformer import Transformer
from lslm_lightning.ngram.training import train
from lslm_lightning.runs import RunDirectory, new_run
from lslm_lightning.systems.checkpoint import Checkpoint
from lslm_lightning.systems.fusion import ShallowFusion
from lslm_lightning.text.recipes import Characters
from lslm_lightning.text.tokenizer import Tokenizer
from lslm_lightning.tracking.uploads import checksum
from lslm_lightning.training.task import Task
from tasks.language_modeling.ngram import NgramTask
from tasks.language_modeling.task import LanguageModelingTask

pytestmark = pytest.mark.slow

TEXTS = ["cat", "cat", "cat", "cap", "bat"]
QUESTION = [Example("1", "?at", ("cat",))]


class Spelling(Task):
    """Reads a text letter by letter, a frame each and a blank between; "?" could be any letter, a
    little rather a b than a c.
    """

    searches = (CtcSearch,)
    min_length = 0
    max_length = 9

    def __init__(self, tokenizer: Tokenizer, search: CtcSearch | None = None) -> None:
        super().__init__(None, tokenizer)
        self.search = search or CtcPrefixBeam(5)

    def loss(self, batch: object, label_smoothing: float = 0.0) -> Tensor:
        raise NotImplementedError

    @classmethod
    def metrics(cls, language: str) -> list[Metric]:
        return []

    def answer(self, examples: Sequence[Example]) -> list[Prediction]:
        return [
            Prediction(
                e.id, self.tokenizer.decode(self.found(e.source).ids), self.found(e.source).nats
            )
            for e in examples
        ]

    def generate(self, examples: Sequence[Example]) -> Iterator[Prediction]:
        yield from self.answer(examples)

    def found(self, text: str):
        frames = torch.full((1, 2 * len(text), self.tokenizer.vocab_size), -9.0, dtype=torch.double)
        frames[..., [self.tokenizer.bos_id, self.tokenizer.eos_id]] = -torch.inf
        frames[:, 1::2, self.tokenizer.pad_id] = 9.0
        for t, letter in enumerate(text):
            for other, score in (
                {"b": 1.2, "c": 1.0, "a": 0.0}.items() if letter == "?" else [(letter, 9.0)]
            ):
                frames[:, 2 * t, self.tokenizer.encode(other)] = score
        return self.search(
            frames.log_softmax(-1),
            torch.tensor([2 * len(text)]),
            self.tokenizer.pad_id,
            self.fusion,
        )[0][0]


def saved(name: str, spec: dict, task: Task, tokenizer: Tokenizer, **more: object) -> RunDirectory:
    """A run directory as training leaves it."""
    run = new_run("fusion", name)
    run.config.write_text(yaml.safe_dump({"model": spec}))
    tokenizer.save(run.tokenizer)
    run.checkpoints.mkdir()
    torch.save(
        {"state_dict": task.state_dict(), "tokenizer_digest": tokenizer.digest, **more},
        run.checkpoints / "best.ckpt",
    )
    return run


def ngram(tokenizer: Tokenizer, texts: Sequence[str] = TEXTS) -> RunDirectory:
    task = NgramTask(tokenizer, order=3)
    row = np.concatenate([[task.bos, *tokenizer.encode(text), tokenizer.eos_id] for text in texts])
    run = saved(
        "ngram",
        {"class_path": "tasks.language_modeling.ngram.NgramTask", "init_args": {"order": 3}},
        task,
        tokenizer,
    )
    train([row], 3, task.bos + 1, task.bos).save(run.checkpoints / "ngram")
    sums = {path.name: checksum(path) for path in (run.checkpoints / "ngram").iterdir()}
    torch.save(
        {"state_dict": {}, "tokenizer_digest": tokenizer.digest, "tables": sums},
        run.checkpoints / "best.ckpt",
    )
    return run


NETWORKS = {
    "Transformer": Transformer(d_model=16, n_head=2, n_encoder_layer=0, n_decoder_layer=2),
    "LSTM": LSTM(16, 0, 2),
}
PATHS = {
    "Transformer": "lslm_lightning.models.transformer.Transformer",
    "LSTM": "lslm_lightning.models.recurrent.LSTM",
}
SIZES = {"Transformer": {"d_model": 16, "n_head": 2}, "LSTM": {"d_model": 16}}


def neural(tokenizer: Tokenizer, family: str) -> RunDirectory:
    torch.manual_seed(0)
    sizes = {**SIZES[family], "n_encoder_layer": 0, "n_decoder_layer": 2}
    spec = {
        "class_path": "tasks.language_modeling.task.LanguageModelingTask",
        "init_args": {"context": 16, "backbone": {"class_path": PATHS[family], "init_args": sizes}},
    }
    task = LanguageModelingTask(NETWORKS[family], tokenizer, context=16)
    for weights in task.parameters():  # far from uniform
        torch.nn.init.normal_(weights, std=0.5)
    return saved(family, spec, task, tokenizer)


@pytest.fixture
def tokenizer(project: Path) -> Tokenizer:
    return Characters().train(TEXTS)


@pytest.fixture
def asking(tokenizer: Tokenizer) -> RunDirectory:
    spec = {"class_path": f"{__name__}.Spelling", "init_args": {}}
    return saved("asking", spec, Spelling(tokenizer), tokenizer)


MODELS: dict[str, Callable[[Tokenizer], RunDirectory]] = {
    "ngram": ngram,
    "Transformer": lambda tokenizer: neural(tokenizer, "Transformer"),
    "LSTM": lambda tokenizer: neural(tokenizer, "LSTM"),
}


def system(asking: RunDirectory, **settings: object) -> Checkpoint:
    return Checkpoint(str(asking.path), device="cpu", trust=True, **settings)


def answer(system: Checkpoint) -> Prediction:
    [found] = system.generate(QUESTION)
    return found


@pytest.mark.parametrize("kind", MODELS)
def test_an_answer_has_its_own_log_p_and_what_the_model_adds(kind, asking, tokenizer):
    model = MODELS[kind](tokenizer)
    alone = answer(system(asking))
    assert alone.output == "bat"
    assert answer(system(asking, fusion=ShallowFusion(str(model.path), weight=0.0))) == alone
    together = answer(
        system(
            asking,
            fusion=ShallowFusion(str(model.path), weight=1.5, length_bonus=0.25),
            search=CtcPrefixBeam(500),
        )
    )
    task = ShallowFusion(str(model.path)).loaded.task
    rows = {
        text: [tokenizer.eos_id, *tokenizer.encode(text), tokenizer.eos_id]
        for text in ("cat", "bat", "aat", "at", together.output)
    }
    nats = {text: float(task.token_nats([row])[0].sum()) for text, row in rows.items()}
    exact = system(asking, search=CtcPrefixBeam(500)).loaded.task
    every = {tokenizer.decode(h.ids): h.nats for h in read_all_predictions(exact, "?at")}
    scores = {text: every[text] + 1.5 * nats[text] - 0.25 * len(text) for text in rows}
    assert together.output == min(scores, key=scores.__getitem__)
    assert together.nats == pytest.approx(scores[together.output], abs=1e-4)  # of float32
    if kind == "ngram":
        assert together.output == "cat"


def read_all_predictions(task: Spelling, text: str) -> list:
    """All hypotheses of a beam that holds all that matter."""
    found = []
    task.search, own = lambda *given: [found.extend(own(*given)[0]) or found], task.search
    task.found(text)
    task.search = own
    return found


def test_a_model_with_another_tokenizer_is_refused_before_and_while_it_is_loaded(asking):
    other = ngram(Characters().train([*TEXTS, "xyz"]))
    fusion = ShallowFusion(str(other.path))
    for refused in (system(asking, fusion=fusion).prepare, system(asking, fusion=fusion).generate):
        with pytest.raises(
            ValueError,
            match=r"its tokenizer must be that of .* lslm_lightning\.text\.recipes\.TokenizerFile",
        ):
            list(refused(QUESTION) or ())
    with pytest.raises(ValueError, match="there is no run"):
        system(asking, fusion=ShallowFusion("nowhere")).prepare(QUESTION)


def test_what_cannot_fuse_is_refused(asking, tokenizer):
    model = ngram(tokenizer)
    fusion = ShallowFusion(str(model.path))
    with pytest.raises(
        ValueError, match="search=CtcGreedy and fusion: CtcGreedy supports no language model"
    ):
        answer(system(asking, fusion=fusion, search=CtcGreedy()))
    with pytest.raises(ValueError, match=r"search=Beam: Spelling needs .* CtcSearch"):
        answer(system(asking, search=Beam()))
    with pytest.raises(ValueError, match="fusion: Sampling supports no language model"):
        Checkpoint(str(model.path), fusion=fusion).info()
    with pytest.raises(ValueError, match="Spelling is no language model"):
        answer(system(asking, fusion=ShallowFusion(str(asking.path), trust=True)))
    with pytest.raises(ValueError, match=r"weight=-1"):
        ShallowFusion("anything", weight=-1)


def test_the_model_is_told_in_facts_and_in_the_fingerprint(asking, tokenizer):
    model = ngram(tokenizer)
    alone = system(asking)
    together = system(asking, fusion=ShallowFusion(str(model.path), 0.5, 1.0))
    assert "fusion" not in alone.info()
    assert together.info()["fusion"] == f"0.5 x {model.path.name}, +1 a token"
    assert together.info()["search"] == "ctcprefixbeam"
    before = together.fingerprint()
    assert len({alone.fingerprint(), ShallowFusion(str(model.path)).fingerprint(), before}) == 3
    torch.save(
        {**torch.load(model.checkpoints / "best.ckpt"), "more": 1}, model.checkpoints / "best.ckpt"
    )
    assert system(asking, fusion=ShallowFusion(str(model.path))).fingerprint() != before
    shutil.rmtree(model.path)
    assert system(asking, fusion=ShallowFusion(str(model.path))).fingerprint() is None


def test_a_config_names_search_and_model(asking, tokenizer):
    model = ngram(tokenizer)
    fusion = {
        "class_path": "lslm_lightning.systems.fusion.ShallowFusion",
        "init_args": {"run": "runs/fusion/ngram-*", "weight": 2.0},
    }
    search = {"class_path": "lslm_lightning.decoding.CtcPrefixBeam", "init_args": {"beam_size": 7}}
    settings = {"run": str(asking.path), "trust": True, "search": search, "fusion": fusion}
    parser = ConfigParser(prog="lslm evaluate")
    parser.add_argument("--systems", type=dict[str, Generator | Scorer])
    spec = {"class_path": "lslm_lightning.systems.checkpoint.Checkpoint", "init_args": settings}
    built = parser.instantiate(parser.parse_object({"systems": {"fused": spec}})).systems["fused"]
    assert (built.search, built.fusion.weight) == (CtcPrefixBeam(7), 2.0)
    assert built.fusion.run.path == model.path
    assert answer(built).output == "cat"


def test_generate_asks_a_model_too(asking, tokenizer, capfd):
    model = ngram(tokenizer)

    def generated(*words: object) -> tuple[int, str]:
        status = main(
            ["generate", str(asking.path), "?at", "--trust", "--device", "cpu", *map(str, words)]
        )
        out, err = capfd.readouterr()
        return status, (out if status == 0 else err).strip()

    assert generated() == (0, "bat")
    assert generated("--fusion", model.path, "--fusion-weight", "2") == (0, "cat")
    assert generated("--fusion", model.path, "--fusion-weight", "0", "--beam-size", "3") == (
        0,
        "bat",
    )
    assert (
        generated("--search", "beam", "--beam-size", "2")
        == generated("--search", "greedy")
        == (0, "bat")
    )
    for words, names in (
        (["--fusion-weight", "2"], "name its run with --fusion"),
        (["--search", "greedy", "--fusion", model.path], "CtcGreedy supports no language model"),
        (["--search", "sampling"], "--search sampling does not apply"),
        (["--fusion", "nowhere"], "there is no run"),
    ):
        status, line = generated(*words)
        assert status == 2
        assert names in line


def test_scores_are_finite_where_the_model_knows_no_such_text(asking, tokenizer):
    model = ngram(tokenizer, ["t"])
    found = answer(system(asking, fusion=ShallowFusion(str(model.path), 1.0)))
    assert math.isfinite(found.nats)
