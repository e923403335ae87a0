"""Energy of a run's training in words: how much was measured, of what, and why not the rest."""

from collections.abc import Sequence

from lslm_lightning.reports.formatting import duration, number
from lslm_lightning.training.energy import GPU, MEMORY, PACKAGE, MeasuredTraining

JOULES_PER_KWH = 3.6e6
PARTS = {PACKAGE: "the CPUs", MEMORY: "the memory", GPU: "the GPUs"}
NOT_RECORDED = "Not measured: the run has no record of it."


def kilowatt_hours(trainings: Sequence[MeasuredTraining]) -> float | None:
    """Return the energy that was measured in all trainings of a run; None if none was."""
    measured = [each for each in trainings if each.joules]
    joules = sum(joules for each in measured for joules in each.joules.values())
    return joules / JOULES_PER_KWH if measured else None


def energy_sentences(trainings: Sequence[MeasuredTraining]) -> list[str]:
    """Return sentences on the energy of a run: the first says how much, or why it is not known, the
    others what is counted.

    Args:
        trainings: content of the run's energy.json; empty if there is none.
    """
    if not trainings:
        return [NOT_RECORDED]
    reasons = dict.fromkeys(each.reason for each in trainings if each.reason)
    energy = kilowatt_hours(trainings)
    if energy is None:
        return [f"Not measured: {reason}." for reason in reasons]
    blind = sum(each.seconds for each in trainings if not each.joules)
    unsure = sum(each.unsure_seconds for each in trainings)
    seconds = sum(each.seconds for each in trainings) - blind
    kinds = [kind for kind in PARTS if any(kind in each.joules for each in trainings)]
    named = [PARTS[kind] for kind in kinds]
    parts = " and ".join(filter(None, (", ".join(named[:-1]), *named[-1:])))
    least = "At least " if blind or unsure else ""
    n_machine = max(each.n_machine for each in trainings)
    found = [
        f"{least}{number(energy)} kWh in {duration(seconds)} of training, by {parts}.",
        "That includes what other programs used there meanwhile, and leaves out the rest of the "
        "machine.",
    ]
    if blind:
        found.append(f"Another {duration(blind)} of training was not measured.")
    if unsure:
        found.append(f"During {duration(unsure)} a counter was read too late, or not at all.")
    if n_machine > 1:
        found.append(f"Only one of {n_machine:,} machines was measured.")
    return [*found, *(f"Not measured: {reason}." for reason in reasons)]
