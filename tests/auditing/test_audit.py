"""The audit of a run that knows its training texts by heart."""

import json
import math
import os
import shutil
import signal
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from lslm_lightning import AuditSettings, audit
from lslm_lightning.auditing.canaries import exposed
from lslm_lightning.auditing.finding import AuditFinding
from lslm_lightning.auditing.harness import read_findings
from lslm_lightning.data.canaries import Canaries
from lslm_lightning.experiments.auditing import AuditResults, open_subject
from lslm_lightning.experiments.run import Run
from lslm_lightning.runs import find_run
from tests.auditing.conftest import N_CANARY
from tests.support.forked_commands import Forked, Origin
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.slow
FEW = AuditSettings(n_sample=32)


@pytest.fixture(scope="module")
def audited(memorizing: Run) -> AuditResults:
    return audit(memorizing, FEW)


def figures(results: AuditResults, part: str) -> dict[str, float]:
    [finding] = [each for each in results.findings if each.part == part]
    return {figure.key: figure.value for figure in finding.figures}


def test_memorized_texts_are_completed_and_others_are_not(audited: AuditResults) -> None:
    found = figures(audited, "memorization")
    assert found["completed"] > 50
    assert found["test_completed"] < 10
    assert found["longest_copy"] > found["test_longest_copy"]
    [finding] = [each for each in audited.findings if each.part == "memorization"]
    assert finding.severity == "look"


def test_examples_do_not_repeat_what_they_warn_of(audited: AuditResults, memorizing: Run) -> None:
    corpus = Path(memorizing.config["data"]["init_args"]["corpus"])
    lines = (corpus / "train.jsonl").read_text("utf-8").splitlines()
    texts = [json.loads(line)["text"] for line in lines]
    page = audited.page.read_text("utf-8")
    assert not any(text[i : i + 30] in page for text in texts for i in range(len(text) - 30))
    for finding in audited.findings:
        for example in finding.examples:
            assert len(example.text) < 40
    assert any(finding.examples for finding in audited.findings)


def test_canaries_are_found_where_they_were_planted(audited: AuditResults) -> None:
    found = figures(audited, "canaries")
    assert found["extracted"] == 100  # a 12-gram model has every number behind its name
    [finding] = [each for each in audited.findings if each.part == "canaries"]
    [table] = finding.tables
    assert [row[0] for row in table.rows] == [1, 16]
    assert sum(row[1] for row in table.rows) == N_CANARY
    assert table.rows[1][2] == pytest.approx(6 * math.log2(10), abs=0.1)  # the most there are


def test_canaries_that_were_not_planted_are_not_found(
    audited: AuditResults, memorizing: Run
) -> None:
    subject = open_subject(find_run(str(memorizing.path)), FEW)
    others = Canaries(n=20, counts=[1], n_digit=6, seed=7)
    found = exposed(subject.task, others, 200, 0, lambda share: None)
    assert not any(each.is_greedy or each.is_beam for each in found)
    mean = sum(each.exposure for each in found) / len(found)
    assert mean < figures(audited, "canaries")["mean_exposure"] / 3


def test_planted_texts_are_part_of_the_recorded_config(memorizing: Run) -> None:
    assert memorizing.config["data"]["init_args"]["canaries"]["n"] == N_CANARY


def test_findings_are_kept_until_an_input_changes(audited: AuditResults, memorizing: Run) -> None:
    files = {path: path.stat().st_mtime_ns for path in audited.path.glob("[!.]*.json")}
    assert len(files) == len(audited.findings)
    again = audit(memorizing, FEW)
    assert again.findings == audited.findings
    assert {path: path.stat().st_mtime_ns for path in files} == files
    damaged = audited.path / "contamination.json"
    damaged.write_text(damaged.read_text()[:100])
    audit(memorizing, FEW)
    changed = {path for path, before in files.items() if path.stat().st_mtime_ns != before}
    assert changed == {damaged}


def test_findings_survive_writing_and_reading(audited: AuditResults) -> None:
    for finding in audited.findings:
        text = json.dumps(finding.to_json())
        assert AuditFinding.from_json(json.loads(text)) == finding
    assert {each.part for each in read_findings(audited.path)} == {
        each.part for each in audited.findings
    }


def test_report_of_the_run_has_one_section_of_the_audit(
    audited: AuditResults, memorizing: Run
) -> None:
    audit(memorizing, FEW)
    assert memorizing.report is not None
    for path in (memorizing.report, memorizing.report.parent / "report.md"):
        text = path.read_text("utf-8")
        assert text.count('id="section-audit"' if path.suffix == ".html" else "## Audit") == 1
    assert memorizing.report.read_text("utf-8").count('href="#section-audit"') == 1


def test_figures_and_page_are_in_mlflow(audited: AuditResults, memorizing: Run) -> None:
    client = MlflowClient(f"sqlite:///{Path('mlflow.db').absolute()}")
    run = client.get_run(memorizing.mlflow_run_id)
    assert run.info.status == "FINISHED"
    for finding in audited.findings:
        for figure in finding.figures:
            logged = run.data.metrics[f"audit/{finding.part}/{figure.key}"]
            assert logged == pytest.approx(figure.value)
    names = {file.path for file in client.list_artifacts(memorizing.mlflow_run_id)}
    assert "audit.html" in names
    kept = {
        Path(file.path).name for file in client.list_artifacts(memorizing.mlflow_run_id, "audit")
    }
    assert kept == {f"{finding.part}.json" for finding in audited.findings}  # no samples


def test_one_part_alone_can_be_asked_for(audited: AuditResults, memorizing: Run) -> None:
    found = audit(memorizing, FEW, parts=["contamination"])
    assert [finding.part for finding in found.findings] == ["contamination"]
    page = found.page.read_text("utf-8")
    assert all(f">{finding.title}</h2>" in page for finding in audited.findings)  # the others stay
    with pytest.raises(ValueError, match="memorisation"):
        audit(memorizing, FEW, parts=["memorisation"])


@pytest.mark.parametrize(
    "wrong", [{"against": "runs/none"}, {"pairs": "none.yaml"}, {"classifier": ("none", "toxic")}]
)
def test_settings_that_name_nothing_change_nothing(
    wrong: dict, audited: AuditResults, memorizing: Run
) -> None:
    before = contents(memorizing)
    with pytest.raises((ValueError, OSError), match="none"):
        audit(memorizing, AuditSettings(n_sample=32, **wrong), fresh=True)
    assert contents(memorizing) == before


def test_findings_stay_when_the_corpus_is_gone(audited: AuditResults, memorizing: Run) -> None:
    corpus = Path(memorizing.config["data"]["init_args"]["corpus"])
    before = {path.name: path.read_text() for path in audited.path.glob("[!.]*.json")}
    sheet = (memorizing.path / "data_sheet.md").read_text("utf-8")
    corpus.rename(corpus.with_name("elsewhere"))
    try:
        again = audit(memorizing, FEW)
    finally:
        corpus.with_name("elsewhere").rename(corpus)
    severities = {finding.part: finding.severity for finding in again.findings}
    assert severities["memorization"] == "look"
    assert (audited.path / "memorization.json").read_text() == before["memorization.json"]
    assert (memorizing.path / "data_sheet.md").read_text("utf-8") == sheet
    assert audit(memorizing, FEW).findings == audited.findings


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_audit_continues(
    signum: int, audited: AuditResults, memorizing: Run, origin: Origin
) -> None:
    run = memorizing.path.with_name(f"stopped-{int(signum)}")
    shutil.copytree(memorizing.path, run, ignore=shutil.ignore_patterns("audit", "audit.html"))
    first = run / "audit" / "memorization.json"

    def start() -> Forked:
        return origin.fork(["audit", str(run), "--n-sample", "32"], os.environ, Path.cwd())

    process = start()
    while not first.exists():
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.002)
    process.send_signal(signum)
    process.communicate(PATIENCE)
    assert process.returncode == (130 if signum == signal.SIGINT else -signum)
    assert not (run / "audit.html").exists()
    kept = first.stat().st_mtime_ns
    process = start()
    output, _ = process.communicate(PATIENCE)
    assert process.returncode == 0, output
    assert first.stat().st_mtime_ns == kept
    assert read_findings(run / "audit") == read_findings(audited.path)
    assert (run / "audit.html").exists()


def contents(run: Run) -> dict[Path, bytes]:
    """The files of a run."""
    return {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
