"""`lslm log-prob RUN PAIRS`: compute log probabilities of given answers."""

import json
import sys
from pathlib import Path
from typing import BinaryIO

from lslm_lightning.commands.arguments import TRUST_HELP, Parser
from lslm_lightning.exit_status import WRONG_ARGUMENTS

DTYPES = ("auto", "float32", "float64", "bfloat16", "float16")
DESCRIPTION = """Print log p of given answers, each after its source, as JSON Lines.

  lslm log-prob runs/translation/cldr_demo-1a2b3c4d pairs.jsonl > scores.jsonl
  lslm log-prob "runs/language_modeling/*" texts.jsonl      the newest run
  echo '{"source": "The sky is", "answer": [" blue", " red"]}' | lslm log-prob models/gpt2 -

A line of PAIRS is one of
  {"source": ..., "answer": ...}  log p of the answer after the source; a list of answers has each
                                  of them scored. The source may also be called as the task's data
                                  call it: "document", "question" and "context", or the language,
                                  {"en": ..., "answer": ...}
  {"text": ...}                   log p of a whole text, by language models
and may have an "id", which is the number of the line by default.

Each answer gives one line, in order, with id, answer (or text), nats (minus log p, natural
logarithm), log_p, n_token (the end of the answer included) and unknown (tokens that are unknown to
the model's tokenizer). nats and log_p are null where the model finds an answer impossible.

The tokens of an answer are those of its own text: where the tokenizer keeps spaces, as that of
GPT-2 does, an answer within a sentence begins with its space."""


def arguments() -> Parser:
    """Build the parser of the command's arguments."""
    parser = Parser("lslm log-prob", description=DESCRIPTION)
    parser.add_argument(
        "run",
        metavar="RUN",
        help="a run, as in lslm generate, or a folder with a model of Hugging Face",
    )
    parser.add_argument(
        "pairs",
        metavar="PAIRS",
        help="a file of JSON Lines, compressed or not; - is standard input",
    )
    of = parser.add_argument_group("Model")
    together = "answers that a model of Hugging Face scores together"
    of.add_argument("--batch-size", type=int, default=16, metavar="N", help=together)
    of.add_argument("--device", default="auto", help="cpu, cuda or auto")
    dtype = "type of the weights while they score (default auto: as they are)"
    of.add_argument("--dtype", default="auto", choices=DTYPES, help=dtype)
    of.add_argument("--trust", action="store_true", help=TRUST_HELP)
    return parser


def main(argv: list[str]) -> int:
    """Print the log probability of each answer, in order, and return the exit status."""
    own = arguments().parse_args(argv[1:])
    if own.batch_size < 1:
        return refuse(f"--batch-size {own.batch_size} must be at least 1")
    path = Path(own.pairs).expanduser()
    if own.pairs != "-" and not path.is_file():
        from lslm_lightning.safety.paths import did_you_mean

        return refuse(f"{own.pairs}: there is no such file{did_you_mean(path)}")
    from lslm_lightning.commands.named_run import named_run
    from lslm_lightning.systems.given_answers import (
        AnswerScorer,
        as_record,
        is_hugging_face,
        read_answers,
    )
    from lslm_lightning.training.cores import limit_threads
    from lslm_lightning.training.display import Display

    reference = own.run
    if not is_hugging_face(reference):
        reference = str(named_run(reference).path)
    if message := limit_threads():
        print(message, file=sys.stderr, flush=True)
    scorer = AnswerScorer(reference, own.device, own.dtype, own.trust, own.batch_size)
    name, source, n_line = opened(own.pairs)
    display = Display(shown=not sys.stdout.isatty(), output="stderr")
    scored = scorer.scored(read_answers(name, source, scorer.columns))
    for given, predictions in display.each("line", scored, n_line):
        for answer, prediction in zip(given.answers, predictions, strict=True):
            print(json.dumps(as_record(given, prediction, answer), ensure_ascii=False), flush=True)
    return 0


def opened(pairs: str) -> tuple[str, bytes | BinaryIO, int | None]:
    """Open the input file, or standard input for "-".

    Args:
        pairs: path of the file, or "-".

    Returns:
        Name of the input for messages, its content or stream, and its number of lines, None if
        unknown.
    """
    if pairs == "-":
        return "standard input", sys.stdin.buffer, None
    from lslm_lightning.corpora.archives import read_file

    content = read_file(Path(pairs).expanduser())
    return pairs, content, content.count(b"\n") + (not content.endswith(b"\n"))


def refuse(message: str) -> int:
    """Print an error message about the arguments to standard error, and return the exit status."""
    print(f"lslm log-prob: {message}", file=sys.stderr)
    return WRONG_ARGUMENTS
