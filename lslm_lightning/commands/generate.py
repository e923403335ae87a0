"""`lslm generate RUN [TEXT | -]`: use a trained model."""

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields, is_dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

from lslm_lightning.commands.arguments import Parser
from lslm_lightning.exit_status import WRONG_ARGUMENTS
from lslm_lightning.safety.magnitudes import check_magnitudes

if TYPE_CHECKING:
    from lslm_lightning.contracts import Prediction
    from lslm_lightning.decoding import AnySearch, Fusion
    from lslm_lightning.training.task import Task

# also the names of a search's settings
OPTIONS = ("no_repeat_ngram", "beam_size", "length_penalty", "temperature", "top_k", "top_p")
FUSION = ("fusion", "fusion_weight", "length_bonus")

DESCRIPTION = """Use a trained model: continue, translate, summarize or answer TEXT; of a task that
reads files, TEXT names one.

  lslm generate runs/translation/cldr_demo-1a2b3c4d "Monday, 3 May"
  lslm generate "runs/language_modeling/*" "def forward(" --max-length 40      the newest run
  lslm generate RUN --search sampling --top-p 0.9 --seed 1 < prompts.txt > continued.txt
  lslm generate RUN "Monday, 3 May" --search beam --n-best 3      the three best, with their log p

With `-`, or with text piped in, each line of standard input is one text and gives one line of
output; with --n-best, N lines with its number, the log p of the answer and the answer between
tabs."""


def parser() -> Parser:
    """The command's arguments."""
    it = Parser("lslm generate", description=DESCRIPTION)
    it.add_argument(
        "run",
        metavar="RUN",
        help=(
            "a run directory (runs/<task>/<run>), a checkpoint in one, an MLflow run id, or a "
            "pattern in quotes for the newest run"
        ),
    )
    it.add_argument(
        "text",
        metavar="TEXT",
        nargs="?",
        help=(
            "what to continue, translate, summarize or answer, or a file to transcribe; - reads "
            "lines from standard input"
        ),
    )
    it.add_argument(
        "--search",
        choices=("greedy", "beam", "sampling"),
        help="default: as the run was configured, which sets what follows too",
    )
    it.add_argument(
        "--no-repeat-ngram",
        type=int,
        metavar="N",
        help="never write the same N tokens twice (default 0: allowed)",
    )
    it.add_argument(
        "--beam-size", type=int, metavar="N", help="beam: hypotheses side by side (default 5)"
    )
    it.add_argument(
        "--length-penalty",
        type=float,
        metavar="X",
        help="beam: above 1 favours long answers (default 1.0)",
    )
    it.add_argument(
        "--temperature",
        type=float,
        metavar="X",
        help="sampling: below 1 is more careful (default 1.0)",
    )
    it.add_argument(
        "--top-k",
        type=int,
        metavar="K",
        help="sampling: only the K most probable tokens (default: all)",
    )
    it.add_argument(
        "--top-p",
        type=float,
        metavar="P",
        help="sampling: only the most probable tokens that make up P (default: all)",
    )
    it.add_argument(
        "--fusion",
        metavar="RUN",
        help="beam: a language model, a run with the same tokenizer, that is asked too",
    )
    it.add_argument(
        "--fusion-weight", type=float, metavar="X", help="of its log probabilities (default 0.3)"
    )
    it.add_argument(
        "--length-bonus",
        type=float,
        metavar="X",
        help="with --fusion: added for each token (default 0)",
    )
    it.add_argument(
        "--max-length",
        type=int,
        metavar="N",
        help="most new tokens (default: as the run was configured)",
    )
    it.add_argument(
        "--min-length",
        type=int,
        metavar="N",
        help="fewest new tokens (default: as the run was configured)",
    )
    it.add_argument(
        "--n-best",
        type=int,
        default=1,
        metavar="N",
        help="beam, sampling: N answers to each text, a line each behind its log p (default 1)",
    )
    it.add_argument("--seed", type=int, default=0, help="of sampling (default 0)")
    it.add_argument(
        "--batch-size",
        type=int,
        default=32,
        metavar="N",
        help="texts answered together (default 32)",
    )
    it.add_argument("--device", default="auto", help="cpu, cuda, or auto (default)")
    it.add_argument(
        "--trust",
        action="store_true",
        help="allow the run's config to name classes outside of this project",
    )
    return it


def lines(text: str | None) -> Iterator[str]:
    """The texts to answer: the one given, or the lines of standard input.

    Raises:
        ValueError: standard input is not UTF-8.
    """
    from lslm_lightning.data.readers import numbered_lines

    if text not in (None, "-"):
        yield text
        return
    for _, line in numbered_lines("standard input", sys.stdin.buffer):
        yield line


def chunks(texts: Iterable[str], size: int) -> Iterator[list[str]]:
    """Lists of at most `size` texts."""
    source = iter(texts)
    while chunk := list(islice(source, size)):
        yield chunk


def main(argv: list[str]) -> int:
    """Answer each text, in order, a batch at a time."""
    arguments = parser().parse_args(argv[1:])
    if arguments.text is None and sys.stdin.isatty():
        return refuse("nothing to read; give TEXT, or - and type lines (Ctrl-D ends)")
    if arguments.batch_size < 1:
        return refuse(f"--batch-size {arguments.batch_size} must be at least 1")
    try:
        check_magnitudes(vars(arguments))
    except ValueError as error:
        return refuse(f"--{error}".replace("_", "-"))
    from lslm_lightning.commands.named_run import named_run
    from lslm_lightning.runs.finding import check_run

    reference = named_run(arguments.run)
    check_run(reference)
    if arguments.fusion is not None and "*" not in arguments.fusion:
        try:
            check_run(arguments.fusion)
        except ValueError as error:
            return refuse(str(error))
    import torch

    from lslm_lightning.decoding import Beam
    from lslm_lightning.runs import load_run
    from lslm_lightning.training.cores import limit_threads
    from lslm_lightning.training.language_model import LanguageModel

    if words := limit_threads():
        print(words, file=sys.stderr, flush=True)
    run = load_run(reference, trust=arguments.trust)
    task = run.task
    device = (
        ("cuda" if torch.cuda.is_available() else "cpu")
        if arguments.device == "auto"
        else arguments.device
    )
    try:
        settle(task, arguments)
        if (fusion := fusion_of(task, arguments, device)) is not None:
            task.answer_by(None, fusion)
    except ValueError as error:
        return refuse(str(error))
    task.to(device)
    torch.manual_seed(arguments.seed)
    # beams want prompts of one length
    alone = isinstance(task.search, Beam) and isinstance(task, LanguageModel)
    n_answer = n_cut = 0
    for number, chunk in enumerate(
        chunks(lines(arguments.text), 1 if alone else arguments.batch_size)
    ):
        examples = [task.example(f"{number}-{i}", text) for i, text in enumerate(chunk)]
        more = {} if arguments.n_best == 1 else {"n_best": arguments.n_best}
        predictions = list(task.generate(examples, **more))
        answers = {p.id: p for p in predictions}
        for i, example in enumerate(examples, n_answer + 1):
            is_piped = arguments.text in (None, "-")
            print(shown(answers[example.id], i if is_piped else None), flush=True)
        n_answer = n_answer + len(examples)
        n_cut = n_cut + sum(p.finish_reason == "length" for p in predictions)
    if n_cut and not isinstance(task, LanguageModel):  # a continuation has no end of its own
        words = (
            f"{n_cut:,} of {n_answer:,} answers were cut at {task.answer_limit} tokens; "
            "raise --max-length"
        )
        print(words, file=sys.stderr, flush=True)
    return 0


def refuse(message: str) -> int:
    """Say what is wrong with the arguments."""
    print(f"lslm generate: {message}", file=sys.stderr)
    return WRONG_ARGUMENTS


def shown(prediction: "Prediction", number: int | None) -> str:
    """Return what is printed of a prediction: its output, or a line for each of its alternatives.

    Args:
        number: of the line that was piped in, whose output must be one line; None for a text.
    """
    if prediction.alternatives:
        first = [] if number is None else [str(number)]
        return "\n".join(
            "\t".join([*first, f"{-nats:.4f}", one_line(output).replace("\t", " ")])
            for output, nats in prediction.alternatives
        )
    return prediction.output if number is None else one_line(prediction.output)


def one_line(text: str) -> str:
    """An output whose line breaks are spaces: one line in, one line out."""
    return text.replace("\r", " ").replace("\n", " ")


def settle(task: "Task", arguments: argparse.Namespace) -> None:
    """Give the task what the arguments say of how to answer.

    Raises:
        ValueError: an option is out of range, or does not apply to this task or its search.
    """
    from lslm_lightning.decoding import CtcSearch
    from lslm_lightning.training.checks import check_lengths

    if arguments.n_best != 1 and not task.finds_n_best:
        raise ValueError(
            f"--n-best does not apply to {type(task).__name__}, which finds one answer; leave it "
            "out"
        )
    if task.search is None:
        names = [
            name
            for name in ("search", "max_length", "min_length", *OPTIONS, *FUSION)
            if getattr(arguments, name) is not None
        ]
        if names:
            options = ", ".join(f"--{name.replace('_', '-')}" for name in names)
            raise ValueError(
                f"{options} does not apply to {type(task).__name__}, which writes nothing token "
                "by token; leave it out"
            )
        return
    task.search = chosen_search(task.search, arguments, task.searches)
    if arguments.n_best != 1:
        task.search.check_n_best(arguments.n_best)
    for option in ("max_length", "min_length"):
        if (value := getattr(arguments, option)) is not None:
            if isinstance(task.search, CtcSearch):
                name = f"--{option.replace('_', '-')}"
                raise ValueError(
                    f"{name} does not apply to {type(task.search).__name__}, which writes what "
                    "the frames say; leave it out"
                )
            setattr(task, option, value)
    check_lengths(task.min_length, task.max_length)


def fusion_of(task: "Task", arguments: argparse.Namespace, device: str) -> "Fusion | None":
    """The language model that `--fusion` names.

    Raises:
        ValueError: there is no such run, it has another tokenizer, or a setting of it came without
            it.
    """
    from lslm_lightning.commands.named_run import named_run
    from lslm_lightning.systems.fusion import ShallowFusion

    settings = {"weight": arguments.fusion_weight, "length_bonus": arguments.length_bonus}
    given = {name: value for name, value in settings.items() if value is not None}
    if arguments.fusion is None:
        if given:
            raise ValueError(
                "--fusion-weight and --length-bonus are settings of a language model; name its "
                "run with --fusion"
            )
        return None
    return ShallowFusion(named_run(arguments.fusion), **given, trust=arguments.trust).over(
        task.tokenizer, device
    )


def chosen_search(
    own: "AnySearch", arguments: argparse.Namespace, searches: Sequence[type]
) -> "AnySearch":
    """The run's own search with what was given; a `--search` of another kind starts from that
    kind's defaults.

    Chance goes on from batch to batch, whatever the seed of the run's search.

    Args:
        searches: kinds that the task can use, the preferred one first.

    Raises:
        ValueError: an option is not of this search, or out of range.
    """
    from lslm_lightning.decoding import Beam, CtcGreedy, CtcPrefixBeam, Greedy, JointBeam, Sampling

    called = {
        "greedy": (Greedy, CtcGreedy),
        "beam": (Beam, CtcPrefixBeam, JointBeam),
        "sampling": (Sampling,),
    }
    kinds = [
        kind
        for family in searches
        for kind in called.get(arguments.search, (type(own),))
        if issubclass(kind, family)
    ]
    if not kinds and arguments.search:
        raise ValueError(
            f"--search {arguments.search} does not apply to this run, whose search is "
            f"{type(own).__name__}; leave it out"
        )
    search = own if not kinds or isinstance(own, tuple(kinds)) else kinds[0]()
    settings = {field.name for field in fields(search)} if is_dataclass(search) else set()
    given = {name: value for name in OPTIONS if (value := getattr(arguments, name)) is not None}
    if wrong := [f"--{name.replace('_', '-')}" for name in given if name not in settings]:
        whose = (
            f"--search {arguments.search}"
            if arguments.search
            else f"this run's search, {type(search).__name__}"
        )
        raise ValueError(
            f"{', '.join(wrong)} does not apply to {whose}; leave it out, or choose another "
            "--search"
        )
    changes = given | ({"seed": None} if "seed" in settings else {})
    return replace(search, **changes) if changes else search
