"""`lslm generate RUN [TEXT | -]`: use a trained model."""

import sys
from collections.abc import Iterator
from dataclasses import fields
from typing import TYPE_CHECKING

from lslm_lightning.commands.arguments import Parser
from lslm_lightning.exit_status import DONE, WRONG_ARGUMENTS
from lslm_lightning.safety.magnitudes import check_magnitudes

if TYPE_CHECKING:
    from lslm_lightning.contracts import Prediction


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
    from lslm_lightning.data.text_lines import numbered_lines

    if text not in (None, "-"):
        yield text
        return
    for _, line in numbered_lines("standard input", sys.stdin.buffer):
        yield line


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
    fusion = arguments.fusion
    if fusion is not None:
        try:
            fusion = named_run(fusion)
            check_run(fusion)
        except ValueError as error:
            return refuse(str(error))
    from lslm_lightning.experiments.generation import SearchSettings, Writer
    from lslm_lightning.training.cores import limit_threads

    if message := limit_threads():
        print(message, file=sys.stderr, flush=True)
    given = {field.name: getattr(arguments, field.name) for field in fields(SearchSettings)}
    writer = Writer(
        reference, arguments.seed, arguments.batch_size, arguments.device, arguments.trust
    )
    try:
        writer.search_by(SearchSettings(**given | {"fusion": fusion}), arguments.n_best)
    except ValueError as error:
        return refuse(str(error))
    is_piped = arguments.text in (None, "-")
    for number, prediction in enumerate(writer.answers(lines(arguments.text)), 1):
        line = number if is_piped else None
        print(shown(prediction, line, arguments.n_best > 1), flush=True)
    if writer.n_cut and not writer.is_language_model:  # a continuation has no end of its own
        message = (
            f"{writer.n_cut:,} of {writer.n_answer:,} answers were cut at "
            f"{writer.task.answering.limit} tokens; raise --max-length"
        )
        print(message, file=sys.stderr, flush=True)
    return DONE


def refuse(message: str) -> int:
    """Say what is wrong with the arguments."""
    print(f"lslm generate: {message}", file=sys.stderr)
    return WRONG_ARGUMENTS


def shown(prediction: "Prediction", number: int | None, with_others: bool = False) -> str:
    """Return what is printed of a prediction: its output, or a line for each of its alternatives.

    Args:
        number: of the line that was piped in, whose output must be one line; None for a text.
        with_others: show the alternatives, which some tasks always have.
    """
    if with_others:
        first = [] if number is None else [str(number)]
        return "\n".join(
            "\t".join([*first, f"{-nats:.4f}", one_line(output).replace("\t", " ")])
            for output, nats in prediction.alternatives
        )
    return prediction.output if number is None else one_line(prediction.output)


def one_line(text: str) -> str:
    """An output whose line breaks are spaces: one line in, one line out."""
    return text.replace("\r", " ").replace("\n", " ")
