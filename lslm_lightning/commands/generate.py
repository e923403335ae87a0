"""`lslm generate RUN [TEXT | -]`: generate answers to texts with a trained model."""

import sys
from collections.abc import Iterator
from dataclasses import fields
from typing import TYPE_CHECKING

from lslm_lightning.commands.arguments import RUN, TRUST_HELP, Parser
from lslm_lightning.exit_status import DONE, WRONG_ARGUMENTS
from lslm_lightning.safety.magnitudes import check_magnitudes

if TYPE_CHECKING:
    from lslm_lightning.contracts import Prediction


DESCRIPTION = """Generate text with a trained model: continue, translate, summarize or answer TEXT;
for a task that reads files, TEXT is the path of one.

  lslm generate runs/translation/cldr_demo-1a2b3c4d "Monday, 3 May"
  lslm generate "runs/language_modeling/*" "def forward(" --max-length 40      the newest run
  lslm generate RUN --search sampling --top-p 0.9 --seed 1 < prompts.txt > continued.txt
  lslm generate RUN "Monday, 3 May" --search beam --n-best 3      the three best, with their log p

With `-`, or with text piped in, each line of standard input is one text and gives one line of
output; with --n-best, N lines with its number, the log p of the answer and the answer between
tabs."""

SEARCH = "how to choose tokens (default: as the run was configured, like the options that follow)"
SEARCH_OPTIONS: dict[str, tuple[type, str, str]] = {  # type, letter and meaning of the value
    "--no-repeat-ngram": (int, "N", "never write the same N tokens twice (default 0: allowed)"),
    "--beam-size": (int, "N", "beam: hypotheses side by side (default 5)"),
    "--length-penalty": (float, "X", "beam: above 1 favours long answers (default 1.0)"),
    "--temperature": (float, "X", "sampling: below 1 is more careful (default 1.0)"),
    "--top-k": (int, "K", "sampling: only the K most probable tokens (default: all)"),
    "--top-p": (
        float,
        "P",
        "sampling: only the most probable tokens that make up P (default: all)",
    ),
    "--fusion": (
        str,
        "RUN",
        "beam: a language model for shallow fusion, a run with the same tokenizer",
    ),
    "--fusion-weight": (float, "X", "weight of its log probabilities (default 0.3)"),
    "--length-bonus": (float, "X", "with --fusion: added for each token (default 0)"),
    "--max-length": (int, "N", "maximum of new tokens (default: as the run was configured)"),
    "--min-length": (int, "N", "minimum of new tokens (default: as the run was configured)"),
}


def arguments() -> Parser:
    """Build the parser of the command's arguments."""
    parser = Parser("lslm generate", description=DESCRIPTION)
    parser.add_argument(
        "run",
        metavar="RUN",
        help=RUN,
    )
    parser.add_argument(
        "text",
        metavar="TEXT",
        nargs="?",
        help=(
            "what to continue, translate, summarize or answer, or a file to transcribe; - reads "
            "lines from standard input"
        ),
    )
    kinds = ("greedy", "beam", "sampling")
    of = parser.add_argument_group("Search")
    of.add_argument("--search", choices=kinds, help=SEARCH)
    for option, (kind, letter, meaning) in SEARCH_OPTIONS.items():
        of.add_argument(option, type=kind, metavar=letter, help=meaning)
    of.add_argument("--seed", type=int, default=0, metavar="N", help="random seed of sampling")
    n_best = "beam, sampling: answers to each text, each on a line of its own behind its log p"
    of = parser.add_argument_group("Output")
    of.add_argument("--n-best", type=int, default=1, metavar="N", help=n_best)
    of = parser.add_argument_group("Model")
    together = "texts answered together"
    of.add_argument("--batch-size", type=int, default=32, metavar="N", help=together)
    of.add_argument("--device", default="auto", help="cpu, cuda or auto")
    engines = ("ctranslate2", "onnxruntime")
    of.add_argument("--engine", choices=engines, help="compute in place of PyTorch")
    types = ("float32", "float16", "bfloat16", "int8")
    dtype = "weights: float16, bfloat16, int8"
    of.add_argument("--dtype", choices=types, metavar="T", default="float32", help=dtype)
    of.add_argument("--trust", action="store_true", help=TRUST_HELP)
    return parser


def lines(text: str | None) -> Iterator[str]:
    """Yield the texts to answer: `text` itself, or the lines of standard input if it is None or
    "-".

    Raises:
        ValueError: standard input is not UTF-8.
    """
    from lslm_lightning.corpora.text_lines import numbered_lines

    if text not in (None, "-"):
        yield text
        return
    for _, line in numbered_lines("standard input", sys.stdin.buffer):
        yield line


def main(argv: list[str]) -> int:
    """Print one answer per text, in order, and return the exit status."""
    own = arguments().parse_args(argv[1:])
    if own.text is None and sys.stdin.isatty():
        return refuse("nothing to read; give TEXT, or - and type lines (Ctrl-D ends)")
    if own.batch_size < 1:
        return refuse(f"--batch-size {own.batch_size} must be at least 1")
    try:
        check_magnitudes(vars(own))
    except ValueError as error:
        return refuse(f"--{error}".replace("_", "-"))
    from lslm_lightning.commands.named_run import named_run

    run = named_run(own.run)
    fusion = own.fusion
    if fusion is not None:
        try:
            fusion = str(named_run(fusion).path)
        except ValueError as error:
            return refuse(str(error))
    from lslm_lightning.experiments.generation import SearchSettings, Writer
    from lslm_lightning.training.cores import limit_threads

    if message := limit_threads():
        print(message, file=sys.stderr, flush=True)
    given = {field.name: getattr(own, field.name) for field in fields(SearchSettings)}
    writer = Writer(run, own.seed, own.batch_size, own.device, own.trust)
    try:
        writer.search_by(SearchSettings(**given | {"fusion": fusion}), own.n_best)
        if own.engine is not None:
            writer.task.answering.use_engine(own.engine, own.dtype)
    except ValueError as error:
        return refuse(str(error))
    is_piped = own.text in (None, "-")
    for number, prediction in enumerate(writer.answers(lines(own.text)), 1):
        line = number if is_piped else None
        print(shown(prediction, line, own.n_best > 1), flush=True)
    if writer.n_cut and not writer.is_language_model:  # a continuation has no end of its own
        message = (
            f"{writer.n_cut:,} of {writer.n_answer:,} answers were cut at "
            f"{writer.task.answering.limit} tokens; raise --max-length"
        )
        print(message, file=sys.stderr, flush=True)
    return DONE


def refuse(message: str) -> int:
    """Print an error message about the arguments to standard error, and return the exit status."""
    print(f"lslm generate: {message}", file=sys.stderr)
    return WRONG_ARGUMENTS


def shown(prediction: "Prediction", number: int | None, with_others: bool = False) -> str:
    """Return a prediction as text to print: its output, or one line per alternative.

    Args:
        number: number of the line of standard input that is answered; the output is then one line.
            None for a text given as an argument.
        with_others: return all alternatives, with their scores, instead of the output.
    """
    if with_others:
        first = [] if number is None else [str(number)]
        return "\n".join(
            "\t".join([*first, f"{-nats:.4f}", one_line(output).replace("\t", " ")])
            for output, nats in prediction.alternatives
        )
    output = prediction.output or ""
    return output if number is None else one_line(output)


def one_line(text: str) -> str:
    """Return an output with line breaks replaced by spaces."""
    return text.replace("\r", " ").replace("\n", " ")
