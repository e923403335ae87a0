"""The demo configs of translation, on a corpus so small that they train in a second."""

from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
TRANSLATION = "configs/translation/cldr_demo.yaml"
EVALUATION = "configs/evaluate/translation_demo.yaml"
CONFIGS = (TRANSLATION, EVALUATION)


def write_demo_configs(folder: Path, corpus: Path) -> None:
    """Write both configs into `folder` under the paths that they have in the repository."""
    configs = {name: yaml.safe_load((ROOT / name).read_text("utf-8")) for name in CONFIGS}
    for config in configs.values():
        config["data"]["init_args"]["corpus"] = str(corpus)
    training = configs[TRANSLATION]
    training["data"]["init_args"]["tokenizer"] = "Characters"
    training["model"]["init_args"]["max_length"] = 20
    training["trainer"]["val_check_interval"] = 2
    for name, config in configs.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(yaml.safe_dump(config), "utf-8")
