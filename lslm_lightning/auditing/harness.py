"""Measurement of all parts of an audit, with progress, kept results and reuse."""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from lslm_lightning.auditing.finding import AuditFinding, not_measured
from lslm_lightning.auditing.part import AuditPart
from lslm_lightning.auditing.subject import AuditSubject
from lslm_lightning.files import atomic_write
from lslm_lightning.localization import MESSAGES, translated
from lslm_lightning.training.display import Display
from lslm_lightning.training.status_line import Part
from lslm_lightning.training.work import Work

FAILED = (ValueError, OSError, RuntimeError)  # errors of a part that do not end the audit


class AuditWork(Work):
    """Progress of an audit, counted in the weights of its parts.

    Args:
        parts: the parts that are to be measured, in order.
        clock: see `Work`.
    """

    def __init__(self, parts: Sequence[AuditPart], clock: Callable[[], float]) -> None:
        super().__init__("audit", sum(part.weight for part in parts), clock=clock)
        self.part = ""

    def head(self) -> Part:
        """Return the first part of the status line, such as "audit 45% memorization"."""
        share = f"{self.share or 0.0:.0%}"
        doing = f"{translated('audit', MESSAGES)} {share} {translated(self.part, MESSAGES)}"
        return Part((doing.strip(), share), (4,))


def run_audit(
    subject: AuditSubject,
    parts: Sequence[AuditPart],
    folder: Path,
    fresh: bool = False,
    display: Display | None = None,
) -> list[AuditFinding]:
    """Measure the parts in order and return their findings.

    Each finding is written as soon as it is measured, with a fingerprint of its inputs. A finding
    whose fingerprint is unchanged is reused, so that an audit that was stopped continues.

    Args:
        folder: folder for the findings, one `<part>.json` each.
        fresh: measure all parts anew.
        display: shows the progress; None for no display.
    """
    display = display or Display(shown=False)
    findings: dict[str, AuditFinding] = {}
    missing = []
    if fresh and subject.data is not None:  # an audit that continues reuses none of the old ones
        for part in parts:
            (folder / f"{part.name}.json").unlink(missing_ok=True)
    for part in parts:
        kept = None if fresh else kept_finding(folder / f"{part.name}.json", subject, part)
        if kept is not None:
            findings[part.name] = kept
        else:
            missing.append(part)
    with display.showing(AuditWork(missing, display.clock)) as work:
        assert isinstance(work, AuditWork)
        before = 0.0
        for part in missing:
            work.part = part.title

            def progress(share: float, before: float = before, weight: float = part.weight) -> None:
                work.update(before + weight * min(1.0, max(0.0, share)))
                display.tell(work)

            progress(0.0)
            findings[part.name] = measured(subject, part, folder, progress)
            before += part.weight
            work.update(before)
    return [findings[part.name] for part in parts]


def measured(
    subject: AuditSubject, part: AuditPart, folder: Path, progress: Callable[[float], None]
) -> AuditFinding:
    """Measure one part, write the finding and return it. A part that fails gives a finding with the
    reason, which is not kept. Without the corpus, what was measured with it stays.
    """
    path = folder / f"{part.name}.json"
    began = time.monotonic()
    try:
        reason = part.reason_not(subject)
        if reason is not None and reason == subject.without_data and part.outlives_data:
            earlier = earlier_finding(path, subject)  # measured while the corpus was there
            if earlier is not None:
                return earlier
        if reason is not None:
            finding = not_measured(part.name, part.title, reason)
        else:
            finding = part.measure(subject, progress)
    except FAILED as error:
        if kept_finding(path, subject, part) is None:
            path.unlink(missing_ok=True)
        reason = " ".join(str(error).split())
        return not_measured(part.name, part.title, f"This could not be measured: {reason}")
    record = {
        "fingerprint": fingerprint(subject, part),
        "weights": subject.system.fingerprint(),
        "seconds": round(time.monotonic() - began, 1),
        "finding": finding.to_json(),
    }
    atomic_write(path, json.dumps(record, ensure_ascii=False, indent=1) + "\n")
    return finding


def kept_finding(path: Path, subject: AuditSubject, part: AuditPart) -> AuditFinding | None:
    """Return the finding in a file; None if there is none, or its inputs have changed since."""
    try:
        record = json.loads(path.read_text("utf-8"))
        if record["fingerprint"] != fingerprint(subject, part):
            return None
        return AuditFinding.from_json(record["finding"])
    except (OSError, ValueError, LookupError, TypeError):
        return None  # none, or damaged, or of another release


def earlier_finding(path: Path, subject: AuditSubject) -> AuditFinding | None:
    """Return the finding in a file, whatever the settings and the data that it was measured with;
    None if there is none of these weights.
    """
    try:
        record = json.loads(path.read_text("utf-8"))
        if record["weights"] != subject.system.fingerprint():
            return None
        return AuditFinding.from_json(record["finding"])
    except (OSError, ValueError, LookupError, TypeError):
        return None  # none, or damaged, or of another release


def with_earlier_findings(
    subject: AuditSubject,
    parts: Sequence[AuditPart],
    folder: Path,
    findings: Sequence[AuditFinding],
) -> list[AuditFinding]:
    """Return findings, and those of an earlier audit of the same weights for the other parts, in
    the order of the parts.

    Args:
        parts: all parts.
        folder: folder with the findings of the earlier audit.
        findings: findings of this audit, perhaps of some of the parts.
    """
    own = {finding.part: finding for finding in findings}
    found = [
        own.get(part.name) or earlier_finding(folder / f"{part.name}.json", subject)
        for part in parts
    ]
    return [finding for finding in found if finding is not None]


def read_findings(folder: Path) -> list[AuditFinding]:
    """Return the findings in the folder of an earlier audit, by name of the part; files that are no
    findings are left out.
    """
    found = []
    for path in sorted(folder.glob("[!.]*.json")):
        try:
            found.append(AuditFinding.from_json(json.loads(path.read_text("utf-8"))["finding"]))
        except (OSError, ValueError, LookupError, TypeError):
            continue
    return found


def fingerprint(subject: AuditSubject, part: AuditPart) -> str:
    """Return a digest of everything that determines the finding of a part."""
    inputs = [subject.identity, part.name, part.version, part.settings() | part.inputs(subject)]
    return hashlib.sha256(json.dumps(inputs, sort_keys=True, default=str).encode()).hexdigest()
