"""Systems of the last release, which derive from nothing, are systems still."""

import ast
import warnings
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from lslm_lightning.contracts import (
    CannotError,
    Example,
    Generator,
    Prediction,
    Purpose,
    Scorer,
    System,
)
from lslm_lightning.evaluation.duck_typing import as_system, unwrapped
from lslm_lightning.evaluation.harness import collect_predictions

ROOT = Path(__file__).parents[2]
EXAMPLES = [Example(str(i), f"text {i}", (f"text {i}",)) for i in range(3)]
ABILITIES = [name for name in vars(System) if not name.startswith("_")]


class Bare:
    name = "bare"

    def generate(self, examples):
        return (Prediction(e.id, e.source) for e in examples)


class Declared(Generator):
    name = "bare"

    def generate(self, examples):
        return (Prediction(e.id, e.source) for e in examples)


class Full:
    """All that the last release asked a system for."""

    name = "full"
    reads = None
    shared = False
    whole_exam = True
    allow_mismatch = True
    directory = SimpleNamespace(path=Path("runs/a"))
    readied = tuned = None

    def ready(self, examples):
        self.readied = examples

    def tune(self, examples):
        self.tuned = examples()

    def fingerprint(self):
        return "abc"

    def facts(self):
        return {"n_parameter": 7}

    def signature(self, mode):
        return f"|mode:{mode}"

    def cut_sources(self, examples):
        return 2, "are cut"

    def chosen_runs(self):
        return ["runs/a"]

    def purposes(self):
        return [Purpose("translation")]

    def told_languages(self):
        return ("ru", "ru")

    def log_prob(self, examples):
        return (Prediction(e.id, nats=1.0) for e in examples)


@pytest.fixture
def adapted():
    def adapt(system):
        with pytest.warns(FutureWarning):
            return as_system(system)

    return adapt


def answer_of(system, ability):
    found = getattr(system, ability)
    inputs = {
        "prepare": [EXAMPLES],
        "calibrate": [lambda: EXAMPLES],
        "cut_sources": [EXAMPLES],
        "signature": ["generate"],
    }
    return found(*inputs.get(ability, [])) if callable(found) else found


@pytest.mark.parametrize("ability", [name for name in ABILITIES if name != "name"])
def test_what_a_duck_typed_system_leaves_out_is_as_declared(ability, adapted):
    assert answer_of(adapted(Bare()), ability) == answer_of(Declared(), ability)


def test_every_ability_of_the_last_release_is_found_under_its_name_of_today(adapted):
    own = Full()
    system = adapted(own)
    assert unwrapped(system) is own
    expected = {
        "modality": None,
        "shardable": False,
        "needs_all_examples": True,
        "is_baseline": False,
        "allow_mismatch": True,
        "run_directory": Path("runs/a"),
        "fingerprint": "abc",
        "info": {"n_parameter": 7},
        "signature": "|mode:generate",
        "cut_sources": (2, "are cut"),
        "chosen_runs": ["runs/a"],
        "purposes": [Purpose("translation")],
        "told_languages": ("ru", "ru"),
        "prepare": None,
        "calibrate": None,
    }
    assert expected.keys() == set(ABILITIES) - {"name"}
    assert {name: answer_of(system, name) for name in expected} == expected
    assert own.readied == own.tuned == EXAMPLES
    assert system.name == "full"


def test_an_adapter_can_what_its_system_can(adapted, tmp_path):
    bare, full = adapted(Bare()), adapted(Full())
    assert isinstance(bare, Generator)
    assert not isinstance(bare, Scorer)
    assert isinstance(full, Scorer)
    assert not isinstance(full, Generator)
    found = collect_predictions(bare, "generate", EXAMPLES, tmp_path / "bare.jsonl")
    assert [p.output for p in found] == [e.source for e in EXAMPLES]
    assert [
        p.nats for p in collect_predictions(full, "log_prob", EXAMPLES, tmp_path / "full.jsonl")
    ] == [1.0] * 3
    with pytest.raises(CannotError, match="gives no probabilities"):
        collect_predictions(bare, "log_prob", EXAMPLES, tmp_path / "none.jsonl")


def test_the_warning_names_the_base_class():
    with pytest.warns(FutureWarning, match=r"Bare .* derive it from Generator of"):
        as_system(Bare())
    with pytest.warns(FutureWarning, match=r"Full .* derive it from Scorer of"):
        as_system(Full())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        declared = Declared()
        assert as_system(declared) is declared
    with pytest.raises(TypeError, match="object is no system: derive it from"):
        as_system(object())


def test_a_subclass_of_ours_that_uses_old_names_is_read_by_the_new_ones():
    with pytest.warns(FutureWarning, match="now called"):

        class Old(Declared):
            reads = None
            whole_exam = True

            def facts(self):
                return {"n_parameter": 3}

    assert Old().info() == {"n_parameter": 3}
    assert (Old.modality, Old.needs_all_examples, Old.shardable) == (None, True, True)


def test_the_medium_of_an_example_is_its_modality():
    with pytest.warns(FutureWarning, match="now called modality"):

        @dataclass(frozen=True, slots=True)
        class Picture(Example):
            medium: str = "picture"

    picture = Picture("0", "a.png", ("cat",))
    assert picture.medium == picture.modality == "picture"
    assert picture.text == ""
    assert picture.length == 0


@pytest.mark.slow
def test_no_ability_of_a_system_is_looked_up_by_name():
    for path in sorted((ROOT / "lslm_lightning").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            looks_up = isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
            if looks_up and node.func.id in ("getattr", "hasattr"):
                of = ast.unparse(node.args[0])
                assert of not in ("system", "named", "baseline"), f"{path}, line {node.lineno}"


def test_a_scorer_of_the_last_release_is_asked_for_given_answers_only_where_it_takes_them():
    class Old:
        name = "old"

        def log_prob(self, examples):
            return iter([Prediction(example.id, nats=1.0) for example in examples])

    class New(Old):
        def log_prob(self, examples, answers=None):
            return iter([Prediction("0", text, nats=2.0) for text in answers])

    asked = [Example("0", "source", ())]
    with pytest.warns(FutureWarning):
        old, new = as_system(Old()), as_system(New())
    assert [p.nats for p in old.log_prob(asked)] == [1.0]
    with pytest.raises(CannotError, match="takes no answers"):
        old.log_prob(asked, ["a"])
    assert [p.output for p in new.log_prob(asked, ["a"])] == ["a"]
