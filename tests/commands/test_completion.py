"""Completion of command lines, as bash and its function for argcomplete have it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.waiting import PATIENCE

pytest.importorskip("argcomplete")
BIN = Path(sys.executable).parent
CLDR = "--config configs/translation/cldr_demo.yaml"
SCRIPT = """
eval "$(register-python-argcomplete lslm)"
while IFS= read -r line; do
  COMP_LINE=$line COMP_POINT=${#line} COMP_TYPE=9 COMP_WORDBREAKS=$' \\t\\n"\\'><=;|&(:'
  COMPREPLY=()
  $(complete -p lslm | grep -o -- '-F [^ ]*' | cut -c4-) lslm
  printf '%s\\t' "${COMPREPLY[@]}"
  echo
done
"""
LINES = {  # a line -> some of its completions, and what is none
    "lslm re": ({"resume"}, {"run"}),
    "lslm generate --search ": ({"greedy", "beam"}, {"--seed"}),
    "lslm data fetch chinese-": ({"chinese-poetry-ci"}, {"aeslc"}),
    "lslm resume runs/": ({"runs/translation/mine-1"}, {"runs/translation/other"}),
    "lslm plan --d": ({"--devices", "--data.", "--device"}, {"--nodes"}),
    "lslm run --": ({"--config", "--model.", "--trainer.", "--print_config"}, {"--systems"}),
    f"lslm run {CLDR} --model.backbone.n_": ({"--model.backbone.n_head"}, {"--model.backbone"}),
    f"lslm run {CLDR} --job.average_of ": ({"last", "best"}, {"--model"}),
    "lslm evaluate --sp": ({"--split"}, {"--systems"}),
    "lslm fit --config configs/trans": ({"configs/translation/cldr_demo.yaml"}, set()),
}


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
def test_bash_completes_without_torch(tmp_path: Path) -> None:
    run = tmp_path / "runs/translation/mine-1"
    run.mkdir(parents=True)
    (run / "config.yaml").touch()
    imported = tmp_path / "imported"
    torch = tmp_path / "modules/torch.py"
    torch.parent.mkdir()
    torch.write_text(f"open({str(imported)!r}, 'w')\n")
    environment = {
        **os.environ,
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(torch.parent),
    }
    done = subprocess.run(
        ["bash", "-c", SCRIPT],
        input="\n".join(LINES) + "\n",
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    answers = done.stdout.splitlines()
    assert len(answers) == len(LINES), done.stderr
    for (line, (some, none)), answer in zip(LINES.items(), answers):
        found = {each.strip() for each in answer.split("\t")}
        assert some <= found, f"{line}: {found}"
        assert not none & found, f"{line}: {found}"
    assert not imported.exists()
