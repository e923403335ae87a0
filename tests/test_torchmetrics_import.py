"""Deferred import of torchmetrics: little is imported at first, and all of it when it is used."""

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

WAYS = (
    "import torchmetrics.text",
    "import torchmetrics.text.wer",
    "from torchmetrics import text",
    "from torchmetrics import *",
    "import torchmetrics; torchmetrics.Accuracy",
    "import torchmetrics; dir(torchmetrics)",
    "import pickle; pickle.loads(pickle.dumps(held.Accuracy))",
    "from importlib import reload; reload(held)",
)
DESCRIBE = """
def describe():
    import sys, torchmetrics, torchmetrics.text
    from torchmetrics.text.wer import WordErrorRate
    modules = [name for name in sys.modules if name.partition(".")[0] == "torchmetrics"]
    assert all(sys.modules[name].__name__ == name for name in modules)
    assert all(sys.modules[name].__spec__.name == name for name in modules)
    assert torchmetrics.text is sys.modules["torchmetrics.text"]
    assert torchmetrics.text.WordErrorRate is WordErrorRate
    assert issubclass(WordErrorRate, torchmetrics.Metric)
    loader = torchmetrics.__spec__.loader
    assert loader is torchmetrics.__loader__
    return [sorted(vars(torchmetrics)), sorted(modules), type(loader).__name__,
            torchmetrics.__version__, "scipy.signal" in sys.modules]
"""
AT_ONCE = f"""
import json
{DESCRIBE}
print(json.dumps(describe()))
"""
IN_STEPS = f"""
import json, os, sys
from lslm_lightning.torchmetrics_import import defer_torchmetrics
{DESCRIBE}
defer_torchmetrics()
import lightning.pytorch
held, n_finder = sys.modules["torchmetrics"], len(sys.meta_path)
from lightning.pytorch.core.module import Metric, MetricCollection
print(json.dumps([name for name in sys.modules
                  if name in ("scipy.signal", "transformers", "torchmetrics.functional")]))
import torchmetrics.metric
assert held.Metric is torchmetrics.Metric is torchmetrics.metric.Metric is Metric
assert not hasattr(torchmetrics.metric, "nothing") and len(sys.meta_path) == n_finder
for way in json.loads(sys.argv[1]):
    sys.stdout.flush()
    if os.fork() == 0:
        exec(way, {{"held": held}})
        import torchmetrics
        assert torchmetrics is held is sys.modules["torchmetrics"]
        assert torchmetrics.Metric is Metric and torchmetrics.MetricCollection is MetricCollection
        assert not [each for each in sys.meta_path if type(each).__name__ == "DeferredPackage"]
        print(json.dumps(describe()), flush=True)
        os._exit(0)
    assert os.wait()[1] == 0, way
"""


def lines_of(script: str, *arguments: str) -> list[object]:
    """Return the JSON values that a script prints in a Python process of its own."""
    command = [sys.executable, "-c", script, *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return [json.loads(line) for line in ended.stdout.splitlines()]


def test_lightning_imports_no_metrics_and_every_use_finds_the_whole_package() -> None:
    [whole] = lines_of(AT_ONCE)
    at_first, *later = lines_of(IN_STEPS, json.dumps(WAYS))
    assert at_first == []
    for way, found in zip(WAYS, later, strict=True):
        assert found == whole, way
