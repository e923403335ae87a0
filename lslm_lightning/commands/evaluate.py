"""`lslm evaluate --config FILE`: any number of systems through one exam, and one report."""

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lslm_lightning.commands.arguments import Parser
from lslm_lightning.commands.outcome import WRONG_ARGUMENTS, command_line, way_on
from lslm_lightning.safety.magnitudes import N_PROCESS

if TYPE_CHECKING:
    from lslm_lightning.contracts import Generator, Metric, Scorer
    from lslm_lightning.training.data import TaskData

KEYS = ("task", "data", "systems", "split", "n_shot", "n_resample", "metrics")  # of a config
DESCRIPTION = """Let any number of systems answer one exam; score, compare and report what they
wrote.

  lslm evaluate --config configs/evaluate/translation_demo.yaml
  lslm evaluate --config mine.yaml --split val --devices 2

The config says:
  task      class of the task, for its metrics: tasks.translation.task.TranslationTask
  data      class_path and init_args of its data: the exam
  split     of the corpus (default test)
  n_shot    worked examples in questions that are asked in words (default 0)
  n_resample  of intervals and paired tests (default 10000)
  metrics   in place of the task's: a list of class_path and init_args, of lslm_lightning.metrics;
            the task's own headline leads
              where it is among them, else the first
  systems   a name for each -> its class_path and init_args, of lslm_lightning.systems:
              checkpoint.Checkpoint       run: a run directory, a checkpoint in one, an MLflow run
                                          id, or a pattern for the newest of several; search in
                                          place of its own; fusion: a run of a language model that
                                          the search asks
              hugging_face.HuggingFace    path: a folder or a hub id
              endpoint.Endpoint           model, base_url, prices, budget: a hosted model
              outputs.Outputs             path: what another tool wrote
              interpolation.Interpolation  runs: language models with one tokenizer, mixed; weights
                                           by EM on the validation split
              arpa.Arpa                   path: an n-gram model of KenLM or SRILM
              baselines.CopySource, FirstSentences, LongestSentence, ExtractiveOracle, UniformBytes,
              Xz

A run, or a model of Hugging Face, that was trained for another task or for other languages than the
data have is refused, as far as that is stated; allow_mismatch: true among its init_args scores it
all the same. A language model may read another text and language, and it is told.

Any key can be set here: --split val, --data.target_language de. An evaluation that was interrupted
goes on where it stopped when the same command is given again, and what is answered is never asked
again, also when systems are added: --fresh asks anew. A system that fails (a server that is down, a
budget that is spent, any error of its own) leaves the others their scores and their report; the
exit status is then 1."""


def arguments() -> Parser:
    """What argparse knows; the rest are keys of the config."""
    it = Parser("lslm evaluate", description=DESCRIPTION, allow_abbrev=False)
    it.add_argument("--config", required=True, metavar="FILE", help="YAML")
    it.add_argument("--name", help="of the evaluation (default: that of FILE)")
    it.add_argument("--root", default="runs", help="folder of all runs (default runs)")
    shared = "processes that share the exam, a GPU each where there are GPUs (default 1)"
    it.add_argument("--devices", type=int, default=1, metavar="N", help=shared)
    it.add_argument(
        "--fresh",
        action="store_true",
        help="ask every system anew; earlier answers are kept beside",
    )
    it.add_argument("--share", help=argparse.SUPPRESS)  # I/N: of a process that --devices started
    return it


@dataclass
class Evaluation:
    """What a config says, built."""

    task: type
    data: "TaskData"
    systems: "Mapping[str, Generator | Scorer]"
    split: str
    n_shot: int
    metrics: "Sequence[Metric] | None"  # None for the task's
    specs: Mapping[str, Any]  # of the systems, as in the config
    identity: str  # of the exam: all that decides the questions
    n_resample: int
    keys: Mapping[str, str]  # by system: its name, and a digest of how it is set up
    broken: Mapping[str, str]  # by system: why it could not be built

    @property
    def task_name(self) -> str:
        from lslm_lightning.commands.job import task_name

        return task_name(self.task)


def read(config: str, words: list[str]) -> Evaluation:
    """Parse and build.

    Raises:
        SystemExit: with status 2, after one line, where it is not right.
    """
    from jsonargparse.typing import PositiveInt

    from lslm_lightning.commands.config_errors import check_files
    from lslm_lightning.commands.train import Parser as ConfigParser
    from lslm_lightning.contracts import Generator, Metric, Scorer
    from lslm_lightning.metrics.significance import N_RESAMPLE
    from lslm_lightning.safety.magnitudes import check_magnitudes
    from lslm_lightning.text.yaml_files import parse_yaml
    from lslm_lightning.training.data import TaskData
    from lslm_lightning.training.task import Task

    try:
        check_files([f"--config={config}", *words], known=())
    except ValueError as error:
        print(f"lslm: {error}", file=sys.stderr)
        raise SystemExit(WRONG_ARGUMENTS) from None
    parser = ConfigParser(prog="lslm evaluate")
    parser.add_argument("--config", action="config")
    parser.add_argument("--task", type=type[Task], required=True)
    parser.add_subclass_arguments(TaskData, "data", required=True)
    parser.add_argument("--systems", type=dict[str, Generator | Scorer], required=True)
    parser.add_argument("--split", type=str, default="test")
    parser.add_argument("--n_shot", type=int, default=0)
    parser.add_argument("--n_resample", type=PositiveInt, default=N_RESAMPLE)
    parser.add_argument("--metrics", type=list[Metric] | None, default=None)
    try:
        found = parser.parse_args([f"--config={config}", *words])
    except (ImportError, AttributeError) as error:  # of `task`, where the parser lets them through
        parser.error(str(error))
    check_magnitudes(found)
    described = parse_yaml(parser.dump(found, skip_none=False, format="yaml"))
    systems, broken = built_systems(found.pop("systems"))
    built = instantiated(parser, found)
    exam = [
        described["data"],
        found.split,
        found.n_shot,
        built.data.prompt_version,
        built.data.corpus.digest(found.split),
    ]
    specs = described["systems"]
    keys = {name: f"{name}-{digest_of(answering(spec))}" for name, spec in specs.items()}
    return Evaluation(
        *(built.task, built.data, systems, found.split, found.n_shot, built.metrics, specs),
        *(digest_of(exam), found.n_resample, keys, broken),
    )


class Unbuilt:
    """Stands for a system that could not be built: it can nothing."""


def built_systems(specs: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Build systems, and return with them why some could not be.

    Raises:
        ValueError: a system refuses its settings, which are to be corrected before any is asked.
    """
    from jsonargparse import Namespace

    from lslm_lightning.commands.answers import failure
    from lslm_lightning.commands.config_errors import BROKE_DOWN
    from lslm_lightning.commands.train import Parser as ConfigParser
    from lslm_lightning.contracts import Generator, Scorer
    from lslm_lightning.runs.trust import resolve

    systems = {}
    broken = {}
    for name, spec in specs.items():
        named = resolve(spec.class_path)
        only_scores = hasattr(named, "log_prob") and not hasattr(named, "generate")
        parser = ConfigParser(prog="lslm evaluate")
        parser.add_argument("--system", type=Scorer if only_scores else Generator)
        try:
            systems[name] = instantiated(parser, Namespace(system=spec)).system
        except ValueError as error:
            if not str(error).startswith(BROKE_DOWN):
                raise
            systems[name] = Unbuilt()
            broken[name] = failure(error.__cause__ or error)
        except BaseException as error:
            systems[name] = Unbuilt()
            broken[name] = failure(error)
    return systems, broken


def answering(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """The spec of a system without what changes none of its answers."""
    arguments = {
        name: value
        for name, value in (spec.get("init_args") or {}).items()
        if name != "allow_mismatch"
    }
    return {**spec, "init_args": arguments} if "init_args" in spec else spec


def check_systems(specs: Mapping[str, Any]) -> None:
    """Refuse systems that cannot be built.

    Raises:
        SystemExit: with status 2, after one line.
    """
    from lslm_lightning.commands.train import Parser as ConfigParser
    from lslm_lightning.contracts import Generator, Scorer

    parser = ConfigParser(prog="lslm ladder")
    parser.add_argument("--systems", type=dict[str, Generator | Scorer])
    instantiated(parser, parser.parse_object({"systems": dict(specs)}))


def instantiated(parser: Any, found: Any) -> Any:
    """What a parser found, built.

    Raises:
        ValueError: a class refuses its settings, in its own words.
    """
    from lslm_lightning.commands.config_errors import cause_of

    try:
        return parser.instantiate(found)
    except ValueError as error:
        raise cause_of(error)  # noqa: B904 (as it came)


def digest_of(settings: Any) -> str:
    """Eight hexadecimal digits."""
    return hashlib.sha256(
        json.dumps(settings, sort_keys=True, ensure_ascii=False, default=str).encode()
    ).hexdigest()[:8]


def main(argv: list[str]) -> int:
    """Ask, score, report."""
    own, words = arguments().parse_known_args(argv[1:])
    if not 1 <= own.devices <= N_PROCESS:
        words = f"--devices {own.devices} must be at least 1 and at most {N_PROCESS:,}"
        print(f"lslm: {words}", file=sys.stderr)
        return WRONG_ARGUMENTS
    from lslm_lightning.commands.given_settings import check_given
    from lslm_lightning.commands.training import tell_loading

    check_given(["--config", own.config, *words], KEYS).check_paths()
    if not own.share:
        tell_loading()
    from lslm_lightning.runs.directory import as_name, check_name
    from lslm_lightning.training.signals import Interrupted, stoppable

    stem = as_name(Path(own.config).stem)
    check_name(own.name or stem, "--name")
    evaluation = read(own.config, words)
    again = command_line([word for word in argv if word != "--fresh"])
    root = Path(own.root) / evaluation.task_name
    folder = root / f"{own.name or stem}-{evaluation.identity}"
    if not own.name and not folder.exists():  # which one of an earlier release may have begun
        folder = root / f"{name_of(own.config, words)}-{evaluation.identity}"
    try:
        with way_on(f"To go on: {again}"), stoppable():
            examine(evaluation, folder, own, argv)
    except Interrupted as error:
        if own.share:  # the process that started this one tells it
            return 128 + error.signum
        raise
    return 0


def name_of(config: str, words: Sequence[str]) -> str:
    """Return a name of the config's and of what the command line asks otherwise."""
    from lslm_lightning.runs.names import run_name, stem_of, typed_settings

    asked = ("data.", "split", "n_shot")
    settings = {key: text for key, text in typed_settings(words).items() if key.startswith(asked)}
    return run_name(stem_of(config), settings, {}, {})


def examine(evaluation: Evaluation, folder: Path, own: argparse.Namespace, argv: list[str]) -> None:
    """The whole evaluation, or a share of its answers."""
    from lslm_lightning.commands.examination import Examination
    from lslm_lightning.training.cores import limit_threads

    began = time.time()
    examination = Examination(evaluation, folder, own.fresh)
    if own.share:
        index, n = map(int, own.share.split("/"))
        examination.answers.answer_share(index, n)
        return
    examination.tell()
    with examination.answers.alone():
        if own.devices > 1:
            words = [word for word in argv if word != "--fresh"]
            examination.answers.share_out(
                [sys.executable, "-m", "lslm_lightning", *words], own.devices
            )
        elif told := limit_threads():
            print(told, file=sys.stderr, flush=True)
        examination.conclude(command_line(argv), began)
