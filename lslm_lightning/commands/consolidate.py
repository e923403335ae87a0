"""`lslm consolidate RUN`: export sharded weights to one file, or n-gram tables to the ARPA
format.
"""

from pathlib import Path

from lslm_lightning.commands.arguments import RUN, Parser
from lslm_lightning.exit_status import DONE

DESCRIPTION = """Write the weights of a run to one safetensors file, also where several processes
wrote a shard each.

  lslm consolidate runs/translation/multi30k-1a2b3c4d              best.ckpt -> best.safetensors
  lslm consolidate RUN --state last --output weights.safetensors
  lslm generate RUN/checkpoints/best.safetensors "Ein Hund rennt."

An n-gram model is written as an ARPA file, best.arpa, which KenLM and SRILM read: a text is a
sentence there, its tokens are the words, and white space within them is made visible (a space is ▁,
a line end <newline>).

It needs memory for the weights once, and no GPU. The checkpoint is left as it is."""


def arguments() -> Parser:
    """Build the parser of the command's arguments."""
    parser = Parser("lslm consolidate", description=DESCRIPTION, allow_abbrev=False)
    parser.add_argument("run", metavar="RUN", help=RUN)
    states = ("best", "last")
    parser.add_argument("--state", choices=states, default="best", help="checkpoint to export")
    output = "file to write (default: beside the checkpoint)"
    parser.add_argument("--output", type=Path, metavar="FILE", help=output)
    return parser


def main(argv: list[str]) -> int:
    """Write the consolidated file and return the exit status."""
    own = arguments().parse_args(argv[1:])
    from lslm_lightning.commands.named_run import named_run
    from lslm_lightning.experiments.consolidation import consolidate, to_arpa
    from lslm_lightning.runs.directory import refuse_links
    from lslm_lightning.runs.integrity import damage
    from lslm_lightning.runs.own_runs import is_own_run
    from lslm_lightning.runs.states import NGRAM
    from lslm_lightning.text.tokenizer_files import load_tokenizer

    directory = named_run(own.run).directory
    state = directory.best if own.state == "best" else directory.last
    if not state.exists():
        raise ValueError(
            f"{state} does not exist: the run was stopped before it, or trained nothing"
        )
    tables = state.parent / NGRAM if (state.parent / NGRAM).exists() else None
    suffix = ".safetensors" if tables is None else ".arpa"
    output = own.output or state.with_suffix(suffix)
    if output.suffix != suffix:
        raise ValueError(f"--output={output} must end in {suffix}, by which other commands know it")
    if own.output is None and not is_own_run(directory.config):
        refuse_links(directory, "--output FILE")
    if reason := damage(state):
        raise ValueError(f"{state} is damaged: {reason}")
    if tables is not None:
        n_gram = to_arpa(tables, load_tokenizer(directory.tokenizer), output)
        print(f"{output}: {n_gram:,} n-grams, {output.stat().st_size / 1e6:,.1f} MB")
        return DONE
    n_tensor, n_number = consolidate(state, output)
    print(
        f"{output}: {n_tensor} tensors, {n_number:,} numbers, {output.stat().st_size / 1e6:,.1f} MB"
    )
    return DONE
