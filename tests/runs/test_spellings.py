"""However a class path is spelled in a run's config.yaml, nothing is imported that is not
allowed.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lslm_lightning.runs import loading
from lslm_lightning.runs.loading import build, load_run
from lslm_lightning.runs.trust import only_trusted
from lslm_lightning.text.recipes import Characters
from lslm_lightning.text.tokenizer import Tokenizer
from lslm_lightning.text.yaml_files import parse_yaml

STRANGER = "strange_module"
PATHS = (
    f"{STRANGER}.Norm",
    f"{STRANGER}.inner.Norm",
    "idlelib.run.main",  # of the standard library, imported by nobody
    "turtledemo.clock.main",
    "os.system",
    "builtins.exec",
    "subprocess.Popen",
    "lslm_lightning.experiments.child_process.run_to_its_end",
    "lslm_lightning.runs.trust.importlib.import_module",
    "torch.nn.modules.module.torch.hub.load",
    "torch.hub.load",
    "tasks.language_modeling.task.os.system",
)
PLACES = ("norm", "position", "feed_forward", "norm.class_path", "unknown", "backbone.norm")
BACKBONE = "lslm_lightning.models.transformer.Transformer"
TASK = "tasks.language_modeling.task.LanguageModelingTask"
TOKENIZER = Characters().train(["hello world"])
HAPPENED: list[str] = []  # what the audit hook saw of what must not be
WATCHED = (STRANGER, "idlelib", "turtledemo")


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "import" and str(arguments[0]).partition(".")[0] in WATCHED:
        HAPPENED.append(f"import of {arguments[0]}")
    if event in ("os.system", "subprocess.Popen", "os.exec", "os.posix_spawn"):
        HAPPENED.append(event)


@pytest.fixture(scope="module", autouse=True)
def audited() -> None:
    sys.addaudithook(watch)  # which nothing can take away again


@pytest.fixture
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package that can be imported and must not be."""
    package = tmp_path / "path" / STRANGER
    package.mkdir(parents=True)
    for name in ("__init__.py", "inner.py"):
        (package / name).write_text(
            "class Norm:\n    def __init__(self, *args, **settings): pass\n"
        )
    monkeypatch.syspath_prepend(package.parent)
    HAPPENED.clear()
    yield
    assert not HAPPENED
    assert not any(name.partition(".")[0] == STRANGER for name in sys.modules)


def escaped(text: str, places: set[int]) -> str:
    """A text in double quotes with some characters as escapes, which YAML and JSON both read."""
    letters = (f"\\u{ord(c):04x}" if i in places else c for i, c in enumerate(text))
    return f'"{"".join(letters)}"'


@st.composite
def keys(draw: st.DrawFn) -> str:
    """`class_path` as a key of YAML."""
    name = "class_path"
    some = draw(st.sets(st.integers(0, len(name) - 1), max_size=3))
    forms = (
        name,
        f"'{name}'",
        f'"{name}"',
        f"!!str {name}",
        f"&key {name}",
        f"? {name}\n",
        escaped(name, some),
    )
    return draw(st.sampled_from(forms))


@st.composite
def mappings(draw: st.DrawFn) -> str:
    """Flow mappings with a class path: what a tab, a comment, a line break or a merge key makes of
    them.
    """
    path = draw(st.sampled_from(PATHS))
    space = draw(st.sampled_from(("", " ", "\t", "\n ", " # {\n")))
    some = draw(st.sets(st.integers(0, len(path) - 1), max_size=3))
    value = draw(
        st.sampled_from((path, f"'{path}'", escaped(path, some), f"!!str {path}", f"&value {path}"))
    )
    key = draw(keys())
    arguments = draw(st.sampled_from(("", ", init_args: {}", ", dict_kwargs: {x: 1}")))
    spec = f"{key}: {value}{arguments}"
    form = draw(
        st.sampled_from(
            (
                "{%s%s%s}",
                "{<<:%s{%s}%s}",
                "{ <<:%s[{%s}]%s}",
                "[%s{%s}%s]",
                "{init_args:%s {x: {%s}}%s}",
            )
        )
    )
    return form % (space or " ", spec, space if "#" not in space else "\n ")


@st.composite
def values(draw: st.DrawFn) -> str:
    """YAML of what stands where a class is named: a path, a mapping, or a text with one, up to
    three deep.
    """
    path = draw(st.sampled_from(PATHS))
    text = draw(
        st.one_of(st.just(path), st.just(json.dumps({"class_path": path}, indent="\t")), mappings())
    )
    for _ in range(draw(st.integers(0, 3))):
        quoted = json.dumps(text)
        text = draw(
            st.sampled_from(
                (
                    quoted,
                    "'" + text.replace("'", "''") + "'",
                    f"[{quoted}]",
                    f"!!str {quoted}",
                    f"{{class_path: {quoted}}}",
                )
            )
        )
    return text


def config_of(place: str, value: str) -> str:
    """A config.yaml of a model whose setting `place` is `value`."""
    indented = value.replace("\n", "\n" + 14 * " ")
    return (
        f"model:\n  class_path: {TASK}\n  init_args:\n    backbone:\n      class_path: {BACKBONE}\n"
        "      init_args:\n        d_model: 8\n        n_head: 1\n        n_encoder_layer: 0\n   "
        "     n_decoder_layer: 1\n"
        f"        {place}: {indented}\ndata:\n  class_path: "
        "tasks.language_modeling.data.LanguageModelingData\n"
    )


def run_of(folder: Path, config: str) -> Path:
    """A run directory with all that a model is built from."""
    (folder / "checkpoints").mkdir(exist_ok=True)
    (folder / "checkpoints/best.ckpt").touch()
    (folder / "config.yaml").write_text(config, "utf-8")
    TOKENIZER.save(folder / "tokenizer.json")
    return folder


FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.slow
@FUZZ
@given(st.sampled_from(PLACES), values())
def test_a_run_is_refused_before_anything_is_imported(
    stranger, tmp_path, place: str, value: str
) -> None:
    run = run_of(tmp_path, config_of(place, value))
    with pytest.raises(ValueError, match=r"\A[^\n]+\Z"):  # in one line; the checkpoint is none, too
        load_run(run)
    assert not HAPPENED, (place, value)


@pytest.mark.slow
@FUZZ
@given(st.sampled_from(PLACES), values())
def test_the_parser_alone_imports_nothing_either(stranger, place: str, value: str) -> None:
    """With the check left out, since it may not know some spelling."""
    check = loading.check_trust
    loading.check_trust = lambda config: None
    try:
        config = parse_yaml(config_of(place, value))
    except (ValueError, yaml.YAMLError):
        return
    try:
        with only_trusted():
            build(config["model"], TOKENIZER)
    except (ValueError, TypeError, AttributeError):
        pass
    finally:
        loading.check_trust = check
    assert not HAPPENED, (place, value)


def test_a_model_of_this_project_is_built(tmp_path: Path) -> None:
    """The same configuration, without a stranger: what the fuzz tests see refused is refused for
    its class.
    """
    for value in (
        "torch.nn.LayerNorm",
        "{class_path: torch.nn.RMSNorm}",
        '\'{\t"class_path": "torch.nn.RMSNorm"}\'',
    ):
        with only_trusted():
            model = build(parse_yaml(config_of("norm", value))["model"], TOKENIZER)
        assert isinstance(model.tokenizer, Tokenizer)
