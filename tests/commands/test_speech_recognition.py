"""Recordings through the whole command line: trained, written down, fused, evaluated, compared, by
one process and by two.
"""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml
from mlflow.exceptions import MlflowException

from tests.commands.conftest import refused
from tests.commands.test_processes import ended, same_curves, scores
from tests.support.mlflow_models import pyfunc_of
from tests.support.tone_corpus import RATE_HZ, tones, wav, write_spoken

pytestmark = pytest.mark.slow

CHARACTERS = {"class_path": "lslm_lightning.text.recipes.Characters"}


@pytest.fixture
def config(project: Path) -> Path:
    """CTC and a decoder over a small Transformer, with parts left out, another tempo and
    dropout.
    """
    write_spoken(project / "spoken")
    backbone = {
        "d_model": 16,
        "n_head": 2,
        "n_encoder_layer": 1,
        "n_decoder_layer": 1,
        "dropout": 0.1,
    }
    model = {
        "front_end": {
            "class_path": "lslm_lightning.audio.front_end.Waveforms",
            "init_args": {"sample_rate_hz": 8000, "n_mel": 20},
        },
        "subsampling": {
            "class_path": "lslm_lightning.models.subsampling.Subsampling",
            "init_args": {"stride": 2, "n_channel": 4},
        },
        "backbone": {
            "class_path": "lslm_lightning.models.transformer.Transformer",
            "init_args": backbone,
        },
        "search": {
            "class_path": "lslm_lightning.decoding.JointBeam",
            "init_args": {"beam_size": 2},
        },
        "validation_search": {"class_path": "lslm_lightning.decoding.CtcGreedy"},
        "ctc_weight": 0.5,
        "tempo": 0.1,
        "max_length": 12,
    }
    data = {
        "corpus": str(project / "spoken"),
        "tokenizer": CHARACTERS,
        "max_frames": 300,
        "n_validation_example": 4,
    }
    trainer = {
        "accelerator": "cpu",
        "devices": 1,
        "max_steps": 6,
        "val_check_interval": 3,
        "log_every_n_steps": 1,
    }
    settings = {
        "model": {
            "class_path": "tasks.speech_recognition.task.SpeechRecognitionTask",
            "init_args": model,
        },
        "data": {"class_path": "tasks.speech_recognition.data.SpeechData", "init_args": data},
        "trainer": trainer | {"enable_progress_bar": False},
    }
    path = project / "spoken.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def only(pattern: str) -> Path:
    [path] = Path("runs").glob(pattern)
    return path


def test_from_recordings_to_reports(config, project, lslm):
    outcome = lslm("run", "--config", config)
    assert outcome.status == 0, outcome.err
    run = only("speech_recognition/spoken-*")
    page = (run / "report/index.html").read_text("utf-8")
    assert page.count("<audio") == 6
    assert "most frequent answer" in page
    assert "val/wer" in (run / "metrics.jsonl").read_text()
    answers = {
        p["id"]: p["output"]
        for p in map(json.loads, (run / "predictions/test.jsonl").read_text().splitlines())
    }
    assert len(answers) == 6
    files = [f"spoken/test/{i}.wav" for i in range(6)]
    assert lslm("generate", run, files[2]).out == f"{answers['test.jsonl:3']}\n"
    model = pyfunc_of(run, project / "model")
    assert model.predict(files) == list(answers.values())
    with pytest.raises(MlflowException, match=r"'none\.wav' is no file"):
        model.predict(["none.wav"])
    assert lslm("generate", run, files[2], "--search", "greedy").status == 0
    assert lslm("audit", run, "--parts", "robustness").status == 0
    finding = json.loads((run / "audit/robustness.json").read_text("utf-8"))["finding"]
    assert [figure["name"] for figure in finding["figures"]] == [
        f"noise at {snr_db} dB" for snr_db in (20, 10, 0)
    ]
    outcome = lslm("generate", run, files[2], "--search", "greedy", "--max-length", "3")
    assert outcome.status == 2
    assert "--max-length does not apply to CtcGreedy" in outcome.err
    refused(lslm("generate", run, "spoken/test/none.wav"), 1, "'spoken/test/none.wav' is no file")
    (project / "words.wav").write_text("these are words")
    refused(lslm("generate", run, "words.wav"), 1, "words.wav cannot be read as audio")

    ngram = {
        "model": {
            "class_path": "tasks.language_modeling.ngram.NgramTask",
            "init_args": {"order": 3},
        },
        "data": {
            "class_path": "tasks.language_modeling.data.LanguageModelingData",
            "init_args": {"corpus": str(project / "spoken"), "tokenizer": CHARACTERS},
        },
    }
    (project / "ngram.yaml").write_text(yaml.safe_dump(ngram))
    outcome = lslm("run", "--config", project / "ngram.yaml")
    assert outcome.status == 0, outcome.err
    model = only("language_modeling/ngram-*")
    assert (model / "tokenizer.json").read_text() == (run / "tokenizer.json").read_text()

    def checkpoint(**settings) -> dict:
        return {
            "class_path": "lslm_lightning.systems.checkpoint.Checkpoint",
            "init_args": {"run": str(run), **settings},
        }

    beam = {"class_path": "lslm_lightning.decoding.CtcPrefixBeam", "init_args": {"beam_size": 3}}
    fusion = {
        "class_path": "lslm_lightning.systems.fusion.ShallowFusion",
        "init_args": {"run": str(model), "weight": 0.5},
    }
    (project / "written.txt").write_text("a b\n" * 6)
    exam = {
        "task": "tasks.speech_recognition.task.SpeechRecognitionTask",
        "data": {
            "class_path": "tasks.speech_recognition.data.SpeechData",
            "init_args": {"corpus": str(project / "spoken")},
        },
        "systems": {
            "joint": checkpoint(),
            "fused": checkpoint(search=beam, fusion=fusion),
            "copy": {"class_path": "lslm_lightning.systems.baselines.CopySource"},
            "text": {**checkpoint(), "init_args": {"run": str(model)}},
            "file": {
                "class_path": "lslm_lightning.systems.outputs.Outputs",
                "init_args": {"path": str(project / "written.txt")},
            },
        },
    }
    (project / "evaluation.yaml").write_text(yaml.safe_dump(exam))
    outcome = lslm("evaluate", "--config", project / "evaluation.yaml", "--n_resample", "50")
    assert outcome.status == 0, outcome.err
    assert "copy: reads text, and this evaluation set is sound" in outcome.out
    assert "text: reads text, and this evaluation set is sound" in outcome.out
    assert "reads sound" not in outcome.out
    evaluated = next(Path("runs").glob("speech_recognition/*/metrics.json"), None)
    assert evaluated is not None

    assert lslm("run", "--config", config, "--job.name=other", "--trainer.max_steps=3").status == 0
    outcome = lslm("compare", run, only("speech_recognition/other-*"))
    assert outcome.status == 0, outcome.err
    assert lslm("plan", "--config", config).status == 0


def test_bad_recordings_are_told_before_the_training(config, project, lslm):
    (project / "spoken/test/3.wav").write_bytes(wav(tones("abc"))[:900])
    refused(lslm("run", "--config", config), 1, "test/3.wav is cut off", "out of the corpus")
    assert not list(Path("runs").glob("*/*/checkpoints"))


@pytest.mark.distributed
def test_two_processes_train_what_one_does(config, start, together):
    one = (
        "--job.name=one",
        "--trainer.accumulate_grad_batches=2",
        "--trainer.val_check_interval=6",
    )
    ended([start("-m", "lslm_lightning", "run", "--config", config, *one)])
    ended(
        together(
            "run",
            "--config",
            config,
            "--job.name=two",
            "--trainer.devices=2",
            "--trainer.strategy=ddp",
        )
    )
    first = only("speech_recognition/one-*")
    second = only("speech_recognition/two-*")
    same_curves(first, second)
    assert scores(first) == scores(second)


def odd_containers(samples: np.ndarray) -> dict[str, bytes]:
    """Whole files that say something wrong, or nothing, of their length."""

    def written(**options):
        file = io.BytesIO()
        with soundfile.SoundFile(file, "w", RATE_HZ, 1, **options) as out:
            out.write(samples)
        return file.getvalue()

    small = written(format="WAV", subtype="PCM_U8")
    flac = written(format="FLAC")
    mp3 = written(format="MP3", bitrate_mode="VARIABLE", compression_level=0.5)
    second = next(i for i in range(40, len(mp3)) if mp3[i : i + 2] == mp3[:2])
    return {
        "piped.wav": small[:4] + b"\xff" * 4 + small[8:40] + b"\xff" * 4 + small[44:],
        "gsm.wav": written(format="WAV", subtype="GSM610"),
        "piped.flac": flac[:21] + bytes([flac[21] & 0xF0]) + bytes(4) + flac[26:],
        "vbr.mp3": mp3[second:],
    }


def test_a_table_may_name_whole_files_of_any_kind(config, project, lslm):
    """The files train, and are transcribed; one that is cut off is named as the table has it."""
    folder = project / "spoken"
    files = odd_containers(tones("ab cd ab"))
    for name, data in files.items():
        (folder / name).write_bytes(data)
    rows = "".join(
        json.dumps({"audio": name, "text": "ab cd ab", "speaker": "anna"}) + "\n" for name in files
    )
    for split in ("train", "val", "test"):
        with (folder / f"{split}.jsonl").open("a") as file:
            file.write(rows)
    outcome = lslm("run", "--config", config, "--trainer.max_steps", "3")
    assert outcome.status == 0, outcome.err
    run = only("speech_recognition/spoken-*")
    assert len((run / "predictions/test.jsonl").read_text().splitlines()) == 6 + len(files)
    for name in files:
        assert lslm("generate", run, f"spoken/{name}").status == 0
    (folder / "gsm.wav").write_bytes(files["gsm.wav"][:-40])
    refused(lslm("generate", run, "spoken/gsm.wav"), 1, "spoken/gsm.wav is cut off")
    refused(lslm("fit", "--config", config), 1, "gsm.wav is cut off", "take it out of the corpus")
