"""`lslm generate RUN [TEXT | -]`: use a trained model."""

import argparse
import sys
from collections.abc import Iterable, Iterator
from itertools import islice

DESCRIPTION = """Use a trained model: continue, translate or summarize TEXT.

With `-`, or with text piped in, each line of standard input is one text and gives one line of output."""


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    it = argparse.ArgumentParser("lslm generate", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter)
    it.add_argument("run", metavar="RUN", help="a run directory (runs/<task>/<run>), a checkpoint in one, or an MLflow run id")
    it.add_argument("text", metavar="TEXT", nargs="?", help="what to continue, translate or summarize; - reads lines from standard input")
    it.add_argument("--search", choices=("greedy", "beam", "sampling"), help="default: as the run was configured")
    it.add_argument("--beam-size", type=int, default=5, help="beams (default 5)")
    it.add_argument("--length-penalty", type=float, default=1.0, help="beam: above 1 favours long answers (default 1.0)")
    it.add_argument("--temperature", type=float, default=1.0, help="sampling: below 1 is more careful (default 1.0)")
    it.add_argument("--top-k", type=int, default=None, help="sampling: only the k most probable tokens")
    it.add_argument("--top-p", type=float, default=None, help="sampling: only the most probable tokens that make up p")
    it.add_argument("--no-repeat-ngram", type=int, default=0, help="never write the same n tokens twice")
    it.add_argument("--max-length", type=int, default=None, help="most new tokens")
    it.add_argument("--seed", type=int, default=0, help="of sampling (default 0)")
    it.add_argument("--batch-size", type=int, default=32, help="texts answered together (default 32)")
    it.add_argument("--device", default="auto", help="cpu, cuda, or auto (default)")
    it.add_argument("--trust", action="store_true", help="allow the run's config to name classes outside of this project")
    return it


def lines(text: str | None) -> Iterator[str]:
    """The texts to answer: the one given, or the lines of standard input.

    Raises:
        ValueError: standard input is not UTF-8.
    """
    if text not in (None, "-"):
        yield text
        return
    for number, line in enumerate(sys.stdin.buffer, 1):
        try:
            yield line.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise ValueError(f"standard input is not UTF-8 in line {number}, byte {error.start}; convert it first") from None


def chunks(texts: Iterable[str], size: int) -> Iterator[list[str]]:
    """Lists of at most `size` texts."""
    source = iter(texts)
    while chunk := list(islice(source, size)):
        yield chunk


def main(argv: list[str]) -> int:
    """Answer each text, in order, a batch at a time."""
    arguments = parser().parse_args(argv[1:])
    if arguments.text is None and sys.stdin.isatty():
        print("lslm generate: nothing to read; give TEXT, or - and type lines (Ctrl-D ends)", file=sys.stderr)
        return 2
    if arguments.batch_size < 1:
        print(f"lslm generate: --batch-size {arguments.batch_size} must be at least 1", file=sys.stderr)
        return 2
    import torch

    from lslm_lightning.contracts import Example
    from lslm_lightning.runs import load_run

    torch.manual_seed(arguments.seed)
    task = load_run(arguments.run, trust=arguments.trust).task
    chosen = _search(arguments)
    if chosen is not None:
        task.search = chosen
    if hasattr(task.search, "seed"):
        task.search.seed = None  # the numbers of --seed go on from batch to batch
    if arguments.max_length is not None:
        task.max_length = arguments.max_length
    device = ("cuda" if torch.cuda.is_available() else "cpu") if arguments.device == "auto" else arguments.device
    task.to(device)
    for number, chunk in enumerate(chunks(lines(arguments.text), arguments.batch_size)):
        examples = [Example(f"{number}-{i}", text, ()) for i, text in enumerate(chunk)]
        answers = {p.id: p.output for p in task.generate(examples)}
        for example in examples:
            print(answers[example.id].replace("\n", " ") if arguments.text in (None, "-") else answers[example.id], flush=True)
    return 0


def _search(arguments: argparse.Namespace) -> object | None:
    """The search asked for, or None for the run's own."""
    from lslm_lightning.decoding import Beam, Greedy, Sampling

    kind = arguments.search or ("sampling" if arguments.top_k or arguments.top_p or arguments.temperature != 1.0 else None)
    if kind == "greedy":
        return Greedy(no_repeat_ngram=arguments.no_repeat_ngram)
    if kind == "beam":
        return Beam(arguments.beam_size, length_penalty=arguments.length_penalty, no_repeat_ngram=arguments.no_repeat_ngram)
    if kind == "sampling":
        options = {"temperature": arguments.temperature, "top_k": arguments.top_k, "top_p": arguments.top_p}
        options = {name: value for name, value in options.items() if value is not None}
        return Sampling(**options, no_repeat_ngram=arguments.no_repeat_ngram)
    return None
