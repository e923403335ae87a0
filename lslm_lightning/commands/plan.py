"""`lslm plan --config FILE`: estimate memory, throughput, time and cost without training."""

import argparse
from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING

from lslm_lightning.commands.arguments import Parser
from lslm_lightning.commands.training import check_training
from lslm_lightning.exit_status import DONE
from lslm_lightning.localization import (
    CHINESE,
    MESSAGES,
    REPORTS,
    interface_language,
    translated,
)
from lslm_lightning.long_options import listed_names
from lslm_lightning.safety.magnitudes import check_magnitudes

if TYPE_CHECKING:
    from lslm_lightning.planning.devices import Device
    from lslm_lightning.planning.estimate import Estimate, Plan

DESCRIPTION = """Estimate memory, throughput, time and cost of a config without training.

  lslm plan --config configs/translation/multi30k_en_de_gpu.yaml --device rtx4090
  lslm plan --config mine.yaml --device h100,h20 --devices 8 --nodes 2 --tokens 20e9 --price 2.5
  lslm plan --config mine.yaml --vocab-size 32000 --model.backbone.n_decoder_layer 48

Any key of the config can be set here. The table has a row for each way to use the devices: one of
them alone, and the strategies of configs/trainer. Its last columns are the time for all tokens of
the training, and its cost. Tokens are those of sources and targets together (in speech, frames and
target tokens), as in the progress line of a training, so the tokens/s of both can be compared.
Memory is that of tensors, computed from shapes alone; a GPU needs about 1 GB more for
itself. Times follow from the work of each kernel and from peak rates in data sheets, scaled by the
usual efficiency: take them as orders of magnitude. The CPU of this machine is measured."""


def arguments() -> Parser:
    """Build the parser of the command's own options; all other arguments are settings of the
    config.
    """
    parser = Parser("lslm plan", description=DESCRIPTION, allow_abbrev=False)
    of = parser.add_argument_group("Input")
    config = "YAML file of a training; several are merged"
    of.add_argument("--config", action="append", required=True, metavar="FILE", help=config)
    vocabulary = "plan without a tokenizer, and a language model without its corpus"
    of.add_argument("--vocab-size", type=int, metavar="N", help=vocabulary)
    tokens = "source and target tokens to train on, as in 20e9 (default: by the config)"
    of.add_argument("--tokens", type=float, metavar="N", help=tokens)
    of = parser.add_argument_group("Hardware")
    device = "cpu (this machine), a100, h100 and others, separated by commas"
    of.add_argument("--device", default="cpu,h100", metavar="NAME[,NAME]", help=device)
    devices = "devices in each machine; a cpu counts as one"
    of.add_argument("--devices", type=int, default=8, metavar="N", help=devices)
    of.add_argument("--nodes", type=int, default=1, metavar="N", help="machines")
    price = "price of one device for an hour, in any currency; adds the cost"
    of.add_argument("--price", type=float, metavar="P", help=price)
    return parser


def main(argv: list[str]) -> int:
    """Print estimates for each device and return the exit status."""
    own, settings = arguments().parse_known_args(argv[1:])
    for name in ("devices", "nodes", "tokens", "price", "vocab_size"):
        if (value := getattr(own, name)) is not None and value <= 0:
            raise ValueError(f"--{name.replace('_', '-')}={value} must be more than 0")
    check_magnitudes({"--tokens": own.tokens, "--price": own.price, "--vocab_size": own.vocab_size})
    given = [each for file in own.config for each in ("--config", file)] + settings
    check_training(["fit", *given], with_corpus=own.vocab_size is None)
    from lslm_lightning.planning.devices import device_named
    from lslm_lightning.planning.estimate import estimates, planned

    devices = [device_named(name) for name in listed_names(own.device) or [own.device]]
    plan = planned(given, own.vocab_size)
    if plan.task.backbone is None:
        raise ValueError(
            f"{type(plan.task).__name__} counts and trains no network: there is nothing to plan, "
            "lslm run does it in seconds"
        )
    show(
        own,
        plan,
        devices,
        [found for device in devices for found in estimates(plan, device, own.devices, own.nodes)],
    )
    return DONE


def show(
    own: argparse.Namespace, plan: "Plan", devices: "list[Device]", found: "list[Estimate]"
) -> None:
    """Print a summary of the model and a table of estimates.

    Args:
        own: parsed options of the command.
        devices: devices to print estimates for.
        found: estimates to print.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from lslm_lightning.safety.terminal import console

    output = console()
    usual = plan.footprint(usual=True)
    *blocks, rest = usual.parameters
    output.print(
        f"{usual.n_parameter:,} parameters: {len(blocks)} blocks with {sum(blocks):,} together, "
        f"and {rest:,}\n"
        f"{usual.n_token:,} tokens in a micro-batch ({plan.usual_batch.n_source_token:,} source + "
        f"{plan.usual_batch.n_token:,} target), {plan.accumulate} of these in a step on each "
        f"device; {usual.flops / usual.n_token / 1e9:,.3g} GFLOP a token, forward and backward; "
        f"{precisions(plan, devices)}",
        soft_wrap=True,
    )
    if usual.n_trained < usual.n_parameter:
        share = usual.n_trained / usual.n_parameter
        output.print(f"{usual.n_trained:,} of these parameters are trained ({share:.3%})")
    n_token = own.tokens or plan.n_token
    columns = ["GB a device", "weights", "grads", "optim.", "activ.", "in all", "tokens/s"]
    if n_token:
        output.print(
            f"{n_token:,.0f} tokens in the whole training: time and cost are for all of these",
            soft_wrap=True,
        )
        columns += ["time", "cost"] if own.price else ["time"]
    table = Table(*columns, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for column in table.columns:
        column.justify = "left" if column is table.columns[0] else "right"
        column.no_wrap = True
    times = "×" if interface_language() == CHINESE else "x"
    for (device, _), group in groupby(found, lambda row: (row.device, row.n_device > 1)):
        rows = list(group)
        table.add_section()
        table.add_row(
            Text(f"{rows[0].n_device} {times} {translated(device.name, REPORTS)}", "bold")
        )
        for row in rows:
            table.add_row(*cells(row, n_token, own.price))
    output.print(table)


def precisions(plan: "Plan", devices: "list[Device]") -> str:
    """Return the precision of the plan as text; if `auto` is resolved differently per device, list
    each device.
    """
    decided = {device.name: plan.decided_for(device).precision for device in devices}
    if len(set(decided.values())) == 1:
        return next(iter(decided.values()))
    return ", ".join(f"{precision} on {name}" for name, precision in decided.items())


def cells(row: "Estimate", n_token: float | None, price: float | None) -> Iterator[str]:
    """Yield the cells of one row in the table of estimates.

    Args:
        n_token: number of tokens to train on; None if unknown.
        price: price of one device per hour; None if not given.
    """
    yield f"  {translated(row.strategy, REPORTS)}"
    for value in row.memory:
        yield f"{value / 1e9:.2f}"
    fits = row.total <= row.device.gigabytes * 1e9
    yield f"{row.total / 1e9:.2f}"
    yield f"{row.tokens_per_second:,.0f}"
    if n_token:
        seconds = n_token / row.tokens_per_second
        yield translated(duration(seconds) if fits else "too much", MESSAGES)
        if price:
            yield f"{price * row.n_device * seconds / 3600:,.0f}" if fits else ""


def duration(seconds: float) -> str:
    """Return a duration as text in a suitable unit."""
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:.0f} s"
