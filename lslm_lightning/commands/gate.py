"""`lslm gate RUN --baseline RUN --metric NAME --margin X`: let a run pass or fail, for continuous
integration.
"""

import time
from pathlib import Path

from lslm_lightning.commands.arguments import RUN, TRUST_HELP, Parser
from lslm_lightning.exit_status import DONE, GATE_FAILED, SettingsError
from lslm_lightning.files import check_place
from lslm_lightning.metrics.resampling import TEST_RESAMPLES

DESCRIPTION = """Let a run pass or fail: by its loss against a baseline, by assertions on outputs.

  lslm gate runs/translation/new-1a2b3c4d --baseline models:/dates@best --metric bleu --margin 0.5
  lslm gate "runs/translation/new-*" --baseline models:/dates@best --file gate.yaml --junit gate.xml
  lslm gate gpt --baseline mine --evaluation evaluate.yaml --metric chrf --margin 1

Rules:
  non-inferiority  (default) pass if the paired test shows that the loss is below the margin; an
                   equal run may fail if the test set is small: the power that is printed says how
                   often
  regression       pass unless the paired test shows that the loss is above the margin; a worse run
                   may pass

The file has metrics and assertions on outputs:
  metrics: {bleu: 0.5, chrf: {margin: 0.5, rule: regression}}
  outputs:
  - not_contains: TODO
  - {matches: '[.!?]$', at_least: 99 %}
  - {language: de, at_least: baseline, margin: 1}
Kinds: contains, not_contains, matches, not_matches (regular expressions), min_characters,
max_characters, max_ratio (to the longest reference), script (Latn, Hani), language (de, zh), json
(true, or keys). at_least is 100 % by default; that of the baseline is tested by the rule.

What lslm compare refuses to rank is refused.

Exit status: 0 passed, 3 failed the gate, 2 wrong arguments, 1 nothing could be compared."""


def arguments() -> Parser:
    """Build the parser of the command's arguments."""
    parser = Parser("lslm gate", description=DESCRIPTION)
    parser.add_argument("run", metavar="RUN", help=RUN)
    of = parser.add_argument_group("Input")
    of.add_argument("--baseline", metavar="RUN", help="run that it is compared with")
    systems = "config of lslm evaluate; RUN and the baseline are then names of its systems"
    of.add_argument("--evaluation", metavar="FILE", help=systems)
    of.add_argument("--trust", action="store_true", help=TRUST_HELP)
    of = parser.add_argument_group("Checks")
    each = "may be given several times, each with a margin"
    of.add_argument("--metric", action="append", default=[], metavar="NAME", help=each)
    margin = "largest accepted loss, in the unit of the metric before"
    of.add_argument("--margin", action="append", default=[], type=float, metavar="X", help=margin)
    of.add_argument("--rule", metavar="RULE", help="non-inferiority or regression, see below")
    of.add_argument("--level", type=float, metavar="P", help="one-sided level (default: 0.05)")
    of.add_argument("--file", metavar="FILE", help="YAML file with more checks, see below")
    resamples = "resamples of the paired tests"
    of.add_argument("--n-resample", type=int, default=TEST_RESAMPLES, metavar="N", help=resamples)
    of = parser.add_argument_group("Output")
    of.add_argument("--junit", metavar="FILE", help="write the checks as JUnit XML")
    summary = "add the result as Markdown to the end of this file, such as $GITHUB_STEP_SUMMARY"
    of.add_argument("--summary", metavar="FILE", help=summary)
    return parser


def main(argv: list[str]) -> int:
    """Check the gate, print the result, write its records, and return the exit status."""
    own = arguments().parse_args(argv[1:])
    if len(own.metric) != len(own.margin):
        raise SettingsError(
            f"{len(own.metric)} of --metric and {len(own.margin)} of --margin do not pair; "
            "give a margin for each metric, the largest loss that you accept"
        )
    if twice := [name for name in own.metric if own.metric.count(name) > 1]:
        raise SettingsError(f"--metric {twice[0]} is given twice; give it once")
    if own.junit:
        check_place(Path(own.junit), "--junit")
    if own.summary:
        check_place(Path(own.summary), "--summary", in_place=True)
    from lslm_lightning.experiments.gating import gate

    began = time.time()
    results = gate(
        own.run,
        own.baseline,
        dict(zip(own.metric, own.margin, strict=True)),
        rule=own.rule,
        level=own.level,
        file=own.file,
        evaluation=own.evaluation,
        n_resample=own.n_resample,
        trust=own.trust,
    )
    from lslm_lightning.experiments.gate_records import add_summary, show_gate, write_junit

    show_gate(results)
    if own.junit:
        date = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(began))
        write_junit(Path(own.junit), results, time.time() - began, date)
        print(f"JUnit XML {own.junit}")
    if own.summary:
        add_summary(Path(own.summary), results)
        print(f"summary {own.summary}")
    return DONE if results.passed else GATE_FAILED
