"""`lslm audit RUN`: measure what a person must know before a model is used or published."""

import sys
from pathlib import Path

from lslm_lightning.commands.arguments import RUN, TRUST_HELP, Parser

DESCRIPTION = """Audit a trained run: one page of figures, limits and masked examples.

  lslm audit runs/language_modeling/docstrings_demo-1a2b3c4d
  lslm audit "runs/summarization/*" --parts contamination      the newest run, one part alone

Parts, in order:
  memorization    verbatim copies of training texts, and completed passages
  canaries        exposure of texts that data.canaries planted before training
  contamination   test examples that occur in the training texts
  licence         licence of the data against the intended use of the model
  personal_data   e-mail addresses, phone and identity numbers, cards, names
  bias            sentences about two groups: which the model finds likelier
  robustness      scores on 200 inputs with typos, other case, lost spaces
  calibration     probabilities on 200 texts, and how often they are right
  lexicon         words of --lexicon in what the model writes
  classifier      labels that --classifier gives to what the model writes

All training texts are searched, up to 30 million characters for copies; test inputs beyond 200 are
drawn with --seed.

Nothing is sent or downloaded. Findings are kept in RUN/audit: the command, given again, measures
what has changed (weights, data, settings), or goes on where it was stopped. The page is
RUN/audit.html; the report and the MLflow run have its figures."""


def arguments() -> Parser:
    """Build the parser of the command's arguments."""
    from lslm_lightning.auditing.settings import N_SAMPLE, USES

    parser = Parser("lslm audit", description=DESCRIPTION)
    parser.add_argument("run", metavar="RUN", help=RUN)
    of = parser.add_argument_group("What is measured")
    names = "names of parts, separated by commas (default: all)"
    of.add_argument("--parts", metavar="NAMES", help=names)
    samples = "texts that a language model writes, and training texts that it completes"
    of.add_argument("--n-sample", type=int, default=N_SAMPLE, metavar="N", help=samples)
    of.add_argument("--seed", type=int, default=0, metavar="N", help="seed of all draws")
    of.add_argument("--fresh", action="store_true", help="measure all parts anew")
    of = parser.add_argument_group("What is looked for")
    names = "names of people, which are personal data too, one a line"
    of.add_argument("--names", type=Path, metavar="FILE", help=names)
    words = "words to be counted in outputs, such as abuse or refusals, one a line"
    of.add_argument("--lexicon", type=Path, metavar="FILE", help=words)
    labels = "a text classifier on this machine, and labels of it to be counted in outputs"
    of.add_argument("--classifier", nargs="+", default=[], metavar=("FOLDER", "LABEL"), help=labels)
    pairs = "sentences for bias, as YAML (default: those of the package)"
    of.add_argument("--pairs", metavar="FILE", help=pairs)
    against = "another run whose robustness is compared"
    of.add_argument("--against", metavar="RUN", help=against)
    uses = "uses of the model: research, commercial, publication"
    of.add_argument("--intended-use", nargs="+", choices=USES, default=[], metavar="USE", help=uses)
    of = parser.add_argument_group("Model")
    of.add_argument("--device", default="auto", help="cpu, cuda or auto")
    of.add_argument("--trust", action="store_true", help=TRUST_HELP)
    return parser


def main(argv: list[str]) -> int:
    """Audit a run, print its findings and return the exit status."""
    own = arguments().parse_args(argv[1:])
    from lslm_lightning.auditing.page import conclusion, overview
    from lslm_lightning.auditing.settings import AuditSettings
    from lslm_lightning.commands.named_run import named_run
    from lslm_lightning.corpora.text_lines import read_entries
    from lslm_lightning.experiments.auditing import audit
    from lslm_lightning.experiments.endings import suggest_command
    from lslm_lightning.experiments.invocation import command_line
    from lslm_lightning.long_options import listed_names
    from lslm_lightning.reports.terminal import show_conclusion, show_table
    from lslm_lightning.training.cores import limit_threads
    from lslm_lightning.training.display import Display
    from lslm_lightning.training.signals import stoppable

    settings = AuditSettings(
        own.n_sample,
        own.seed,
        names=tuple(read_entries(own.names)) if own.names else (),
        lexicon=tuple(read_entries(own.lexicon)) if own.lexicon else (),
        classifier=tuple(own.classifier),
        pairs=own.pairs or "",
        against=own.against or "",
        intended_use=tuple(own.intended_use),
    )
    found = named_run(own.run)
    if message := limit_threads():
        print(message, file=sys.stderr, flush=True)
    again = command_line([argument for argument in argv if argument != "--fresh"])
    with suggest_command(f"To continue: {again}"), stoppable():
        results = audit(
            found,
            settings,
            parts=None if own.parts is None else listed_names(own.parts),
            fresh=own.fresh,
            device=own.device,
            trust=own.trust,
            display=Display(output="stderr"),
        )
    show_conclusion([conclusion(results.findings)])
    show_table(overview(results.findings))
    print(f"page {results.page}")
    return 0
