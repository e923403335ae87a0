"""The command `lslm serve` with a model of its own, in processes of their own."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import openai
import pytest

from lslm_lightning.commands import serve
from lslm_lightning.commands.serve import main
from lslm_lightning.exit_status import DONE, SettingsError
from lslm_lightning.experiments.generation import SearchSettings, generate
from lslm_lightning.extras import EXTRAS, MissingPackageError
from lslm_lightning.serving.keys import read_keys

IMPORTS = """
import sys
import lslm_lightning.serving.app, lslm_lightning.serving.engine_client
import lslm_lightning.serving.server, lslm_lightning.commands.serve
print([name for name in ("torch", "lightning", "mlflow", "transformers") if name in sys.modules])
"""


@pytest.mark.slow
def test_the_process_of_http_imports_no_model_library() -> None:
    found = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True)
    assert found.stdout.strip() == "[]", found.stderr


@pytest.mark.slow
def test_a_run_is_served_until_a_signal(tiny_run: Callable[[str], Path]) -> None:
    run = tiny_run("learned")
    command = [sys.executable, "-m", "lslm_lightning", "serve", str(run), "--port", "0"]
    environment = os.environ | {"LSLM_LANG": "en"}
    server = subprocess.Popen(
        [*command, "--name", "tiny"], stdout=subprocess.PIPE, env=environment, text=True
    )
    try:
        assert server.stdout is not None
        line = server.stdout.readline()
        assert line.endswith("serves tiny\n"), line
        url = line.split()[0]
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="none")
        prompts = ["the", "fox", "a dog"]
        asked = {"model": "tiny", "max_tokens": 5}
        settings = SearchSettings(max_length=5)
        local = [each.output for prompt in prompts for each in generate(run, [prompt], settings)]
        found = client.completions.create(**asked, prompt=prompts)
        assert [choice.text for choice in found.choices] == local
        parts = client.completions.create(**asked, prompt="the", stream=True)
        assert "".join(part.choices[0].text for part in parts) == local[0]
    finally:
        server.send_signal(signal.SIGTERM)
        assert server.wait() == DONE


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "RUN"),
        (["a", "--host", "0.0.0.0"], "--keys"),
        (["a", "--port", "70000"], "--port"),
        (["a", "--keys", "nowhere"], "nowhere"),
        (["a", "--texts", "0"], "--texts 0"),
        (["a", "--seconds", "nan"], "--seconds"),
        (["a", "--body-mb", "inf"], "--body-mb inf"),
        (["a", "--grace", "nan"], "--grace nan"),
        (["a", "--grace", "inf"], "--grace inf"),
        (["a", "--batch-rows", "0"], "--batch-rows 0"),
        (["a", "--trace", "1.5"], "--trace 1.5"),
        (["a", "--trace", "nan"], "--trace nan"),
        (["a", "--trace-texts"], "--trace-texts needs --trace"),
        (["a", "b", "--name", "c"], "names"),
        (["a", "a"], "--name"),
        (["a", "--tls-cert", "x"], "--tls-key"),
        (["--new-key", "a b"], "--new-key"),
    ],
)
def test_wrong_arguments_are_named(arguments: list[str], named: str) -> None:
    with pytest.raises(SettingsError, match=named) as failed:
        main(["serve", *arguments])
    assert "\n" not in failed.value.message


def test_a_new_key_is_one_for_its_file(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["serve", "--new-key", "ada"]) == DONE
    printed = capsys.readouterr()
    file = tmp_path / "keys"
    file.write_text(printed.out)
    assert read_keys(file).name_of(printed.err.split()[-1]) == "ada"


@pytest.mark.parametrize("package", [name for name, extra in EXTRAS.items() if extra == "serve"])
def test_a_missing_package_is_named_with_its_extra(
    package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found(name: str) -> object:
        return None if name == package else find_spec(name)

    monkeypatch.setattr(serve, "find_spec", found)
    with pytest.raises(MissingPackageError, match=rf"{package}.*\[serve\]"):
        main(["serve", "run"])
