"""Who may import whom; the table of the architecture, checked on the syntax trees."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EVERYTHING = {"*"}
FOUNDATION = (
    "allocation",
    "files",
    "run_files",
    "exit_status",
    "devices",
    "extras",
    "garbage",
    "localization",
    "long_options",
    "renamed",
    "task_package",
    "torchmetrics_import",
    "types",
    "workers",
)  # that everything may import
LAYERS: dict[str, set[str]] = {
    "allocation": set(),
    "files": set(),
    "run_files": set(),
    "exit_status": set(),
    "devices": set(),
    "extras": set(),
    "garbage": set(),
    "localization": set(),
    "long_options": set(),
    "types": set(),
    "workers": set(),
    "renamed": set(),
    "task_package": set(),
    "torchmetrics_import": set(),
    "safety": set(),
    "models": set(),
    "adapters": {"models"},
    "ngram": set(),
    "text": {"safety"},
    "audio": {"safety"},
    "contracts": set(),
    "optim": set(),
    "decoding": set(),
    "metrics": {"contracts", "text", "audio"},
    "corpora": {"text", "safety"},
    "data": {"corpora", "text", "safety"},
    "evaluation": {"metrics", "contracts", "text", "safety"},
    "human": {"contracts", "metrics", "reports", "text", "safety"},
    "tracking": {"contracts", "safety"},
    "pretrained": {"adapters", "models", "text", "safety"},
    "runs": {"tracking", "text", "safety"},
    "training": {
        *(
            "models",
            "adapters",
            "ngram",
            "text",
            "corpora",
            "data",
            "metrics",
            "decoding",
            "optim",
            "evaluation",
            "contracts",
        ),
        *("runs", "tracking", "safety"),
    },
    "auditing": {
        *("runs", "training", "systems", "reports", "evaluation", "metrics", "contracts"),
        *("audio", "corpora", "data", "decoding", "text", "safety"),
    },
    "configuration": {
        *("runs", "text", "safety", "corpora", "data", "tracking", "training", "contracts"),
        "metrics",
    },
    "planning": {"configuration", "runs", "text", "safety", "data", "training"},
    "experiments": {
        *("configuration", "planning", "runs", "text", "safety", "corpora", "data", "tracking"),
        *("training", "contracts", "metrics", "evaluation", "systems", "reports", "ngram"),
        *("decoding", "audio", "auditing", "human"),
    },
    "interchange": {
        *("models", "runs", "text", "safety", "training", "contracts", "decoding", "experiments"),
        *("evaluation", "systems", "adapters", "auditing"),
    },
    "serving": {
        *("contracts", "experiments", "training", "decoding", "models", "runs", "systems", "text"),
        *("audio", "safety", "corpora", "reports", "tracking"),
    },
    "integrations": {"decoding", "experiments", "interchange", "models", "runs", "training"},
    "systems": {"runs", "contracts", "text", "metrics", "decoding", "corpora", "ngram", "safety"},
    "reports": {"evaluation", "metrics", "contracts", "text", "safety"},
    "commands": EVERYTHING,
    "completion": EVERYTHING,
    "__main__": EVERYTHING,
    "__init__": {"runs", "evaluation", "experiments", "interchange", "auditing"},
}
TORCH_ONLY = {"lightning", "mlflow", "transformers", "datasets", "tokenizers"}
FILES = sorted([*(ROOT / "lslm_lightning").rglob("*.py"), *(ROOT / "tasks").rglob("*.py")])


def imports(path: Path) -> set[str]:
    """Absolute names of all modules a file imports, inside functions too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative imports hide where things stand"
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    package, *inside = path.relative_to(ROOT).with_suffix("").parts
    ours = {
        tuple(name.split("."))
        for name in imports(path)
        if name.split(".")[0] in ("lslm_lightning", "tasks")
    }
    if package == "tasks":
        others = {
            name for name in ours if name[0] == "tasks" and len(name) > 1 and name[1] != inside[0]
        }
        assert not others, f"a task never imports another task: {others}"
        return
    assert not any(name[0] == "tasks" for name in ours), "the library never imports a task"
    layer = inside[0]
    allowed = LAYERS[layer]
    layers = {name[1] for name in ours if len(name) > 1} & LAYERS.keys()
    wrong = layers - allowed - {layer, *FOUNDATION}
    assert allowed == EVERYTHING or not wrong, (
        f"{layer} may import {sorted(allowed)}, not {sorted(wrong)}"
    )
    if layer in ("models", "decoding", "ngram"):
        assert not {name.split(".")[0] for name in imports(path)} & TORCH_ONLY, (
            f"{layer} knows only torch and numpy"
        )


def test_every_layer_of_the_tree_is_in_the_table() -> None:
    found = {
        p.stem
        for p in (ROOT / "lslm_lightning").iterdir()
        if (p.is_dir() and any(p.glob("*.py"))) or p.suffix == ".py"
    }
    assert found <= LAYERS.keys()
