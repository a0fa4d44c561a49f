"""``cfgadvise train`` and ``sample`` as a user runs them: a whole run, and everything that can be wrong."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from picture_folder import make_pictures
from PIL import Image

COMMAND = [sys.executable, "-m", "advisor", "--lang", "en"]


def _cfgadvise(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, encoding="utf-8", timeout=240, check=False, **options
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One small run with the whole way: measure, train, sample, evaluate, export, report."""
    base = tmp_path_factory.mktemp("train")
    make_pictures(base / "pictures", per_class=10)
    done = _cfgadvise(
        "train", "--auto", "--device", "cpu", "--data", str(base / "pictures"), "--out", str(base / "run"),
        "--samples", "960", "--set", "image_size=8", "--set", "validate_every_samples=480",
        "--set", "checkpoint_every_samples=480",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return base, done


def test_a_run_leaves_everything_that_the_contract_names(finished):
    base, done = finished
    run = base / "run"
    for name in ("config.toml", "advice.json", "dataset.json", "metrics.jsonl", "events.jsonl", "evaluation.json"):
        assert (run / name).stat().st_size > 0, name
    assert [path.name for path in sorted((run / "samples").iterdir())] == [f"sample-{k}.png" for k in range(1, 6)]
    assert (run / "pipeline" / "unet" / "diffusion_pytorch_model.safetensors").exists()
    assert (run / "checkpoints" / "ckpt-000000000960" / "MANIFEST.json").exists()
    assert not [*run.rglob(".tmp-*"), *run.rglob(".del-*")]
    assert "Predicted and actual" in done.stdout
    assert "Predicted and actual" in (run / "report.md").read_text(encoding="utf-8")


def test_what_is_measured_before_is_the_runs_own(finished):
    base, done = finished
    advice = json.loads((base / "run" / "advice.json").read_text(encoding="utf-8"))
    assert all(one["input_s"] is not None for one in advice["measurements"] if one["outcome"] == "ok")
    assert "noise_scale_made_up_data" not in [one["id"] for one in advice["warnings"]]
    foreseen = {one["id"]: one["num_times"] for one in advice["occasions"]}
    assert foreseen.items() >= {"validation": 2, "grids": 5, "checkpoints": 6, "final_pictures": 1}.items()
    best = advice["recommended"]
    assert best["training_s"]["value"] < best["run_s"]["value"]
    assert "Training steps alone" in done.stdout


def test_held_out_pictures_are_recorded(finished):
    base, _ = finished
    dataset = json.loads((base / "run" / "dataset.json").read_text())
    assert (dataset["num_train"], dataset["num_held_out"]) == (27, 3)
    assert {name.split("/")[0] for name in dataset["held_out"]} == {"red", "green", "blue"}


def test_the_configuration_says_why(finished):
    base, _ = finished
    lines = (base / "run" / "config.toml").read_text().splitlines()
    batch = next(line for line in lines if line.startswith("micro_batch"))
    assert "measured on" in batch


def test_the_same_command_again_has_nothing_to_do(finished):
    base, _ = finished
    before = (base / "run" / "metrics.jsonl").read_bytes()
    again = _cfgadvise("train", "--auto", "--data", str(base / "pictures"), "--out", str(base / "run"))
    assert again.returncode == 0, again.stderr
    assert "is finished" in again.stderr
    assert (base / "run" / "metrics.jsonl").read_bytes() == before


def test_another_configuration_in_the_same_folder_is_refused(finished):
    base, _ = finished
    other = _cfgadvise("train", "--out", str(base / "run"), "--set", "lr=0.5")
    assert other.returncode == 2
    assert "lr was 0.001, is now 0.5" in other.stderr


def test_other_pictures_in_the_same_folder_are_refused(finished, tmp_path):
    base, _ = finished
    make_pictures(tmp_path / "more", per_class=11)
    other = _cfgadvise("train", "--data", str(tmp_path / "more"), "--out", str(base / "run"))
    assert other.returncode == 4
    assert "3 added, 0 removed" in other.stderr


def test_samples_by_class_name(finished, tmp_path):
    base, _ = finished
    done = _cfgadvise(
        "sample", str(base / "run"), "--class", "red", "--class", "blue", "-n", "3", "--out", str(tmp_path / "o")
    )
    assert done.returncode == 0, done.stderr
    paths = done.stdout.split()
    assert len(paths) == 6
    means = [np.asarray(Image.open(path)).reshape(-1, 3).mean(0) for path in paths]
    assert all(np.argmax(mean) == (0 if k < 3 else 2) for k, mean in enumerate(means))


def test_evaluate_judges_every_checkpoint_and_best_is_the_chosen_one(finished, tmp_path):
    base, _ = finished
    run = tmp_path / "run"
    shutil.copytree(base / "run", run)
    done = _cfgadvise("evaluate", str(run), "--checkpoint", "all", "--num-samples", "30", "--device", "cpu", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found == json.loads((run / "evaluation.json").read_text())
    assert [one["samples"] for one in found["checkpoints"]] == [576, 768, 960]  # the newest three are kept
    judged = found["checkpoints"][-1]["judgements"]
    assert [(one["guidance"], one["num_generated"]) for one in judged] == [(1.0, 30), (1.5, 30)]
    assert judged[0]["separability"]["accuracy"]["generated"]["value"] > 0.9  # three colours
    assert (run / judged[0]["copies"]["sheet"]).exists() and (run / found["real_grid"]).exists()
    assert [one["id"] for one in found["findings"]][-1] == "found_few_held_out"
    chosen = str(found["choice"]["samples"])
    for which in ("best", chosen):
        _cfgadvise("sample", str(run), "--class", "red", "--checkpoint", which, "--out", str(tmp_path / which))
    assert (tmp_path / "best" / "red-0-0.png").read_bytes() == (tmp_path / chosen / "red-0-0.png").read_bytes()
    shown = _cfgadvise("evaluate", str(run), "--checkpoint", chosen, "--num-samples", "20", "--no-sweep")
    assert "Use the checkpoint at" in shown.stdout


def test_other_pictures_are_not_judged_by(finished, tmp_path):
    base, _ = finished
    shutil.copytree(base / "run", tmp_path / "run")
    make_pictures(tmp_path / "pictures", per_class=4)
    text = (tmp_path / "run" / "config.toml").read_text()
    assert str(base / "pictures") in text
    moved = base / "pictures-moved"
    (base / "pictures").rename(moved)
    try:
        shutil.copytree(tmp_path / "pictures", base / "pictures")
        done = _cfgadvise("evaluate", str(tmp_path / "run"))
        assert (done.returncode, "are not those" in done.stderr) == (4, True)
    finally:
        shutil.rmtree(base / "pictures")
        moved.rename(base / "pictures")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--checkpoint", "17"], 5, "no checkpoint '17'"),
        (["--num-samples", "3"], 2, "at least 20"),
        (["--select", "beauty"], 2, "kid or classifier"),
        (["--features", "/nowhere"], 2, "--features /nowhere"),
    ],
)
def test_wrong_evaluations(finished, arguments, code, message):
    base, _ = finished
    before = (base / "run" / "evaluation.json").read_bytes()
    done = _cfgadvise("evaluate", str(base / "run"), *arguments)
    assert (done.returncode, "Traceback" in done.stderr) == (code, False)
    assert message in done.stderr
    assert (base / "run" / "evaluation.json").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--class", "rde"], 2, "did you mean 'red'"),
        (["--checkpoint", "17"], 5, "no checkpoint '17'"),
        (["-n", "0"], 2, "at least one"),
    ],
)
def test_wrong_samples(finished, arguments, code, message):
    base, _ = finished
    done = _cfgadvise("sample", str(base / "run"), *arguments)
    assert (done.returncode, "Traceback" in done.stderr) == (code, False)
    assert message in done.stderr


def _no_folder(base):
    return ["--data", str(base / "nowhere")]


def _empty_class(base):
    make_pictures(base / "d")
    (base / "d" / "yellow").mkdir()
    return ["--data", str(base / "d")]


def _truncated(base):
    path = make_pictures(base / "d") / "red" / "0.png"
    path.write_bytes(path.read_bytes()[:-30])
    return ["--data", str(base / "d")]


def _text_file(base):
    (make_pictures(base / "d") / "red" / "words.png").write_text("words")
    return ["--data", str(base / "d")]


WRONG = {
    "no such folder": (_no_folder, 4, "does not exist"),
    "empty class": (_empty_class, 4, "yellow"),
    "truncated picture": (_truncated, 4, "red/0.png"),
    "text named png": (_text_file, 4, "red/words.png (not a picture)"),
    "unknown preset": (lambda _: ["--set", "preset=tyni"], 2, "did you mean 'tiny'"),
    "lr is nan": (lambda _: ["--set", "lr=nan"], 2, "lr"),
    "batch of zero": (lambda _: ["--set", "micro_batch=0"], 2, "micro_batch must be at least 1"),
    "no samples": (lambda _: ["--samples", "0"], 2, "samples must be at least 1"),
    "unknown key": (lambda _: ["--set", "learning_rat=1"], 2, "unknown key"),
    "no configuration": (lambda base: ["--config", str(base / "no.toml")], 2, "No such file"),
    "no advice": (lambda base: ["--advice", str(base / "no.json")], 2, "No such file"),
    "no such device": (lambda _: ["--device", "cuda:7"], 3, "cuda:7"),
    "bad picture size": (lambda _: ["--set", "image_size=10"], 2, "multiple of 4"),
}


@pytest.mark.parametrize("name", list(WRONG))
@pytest.mark.parametrize("auto", [[], ["--auto"]], ids=["plain", "auto"])
def test_bad_input_is_one_clear_message_and_nothing_is_written(tmp_path, name, auto):
    arrange, code, message = WRONG[name]
    done = _cfgadvise("train", *auto, "--out", str(tmp_path / "run"), *arrange(tmp_path))
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""
    assert not (tmp_path / "run").exists()


def test_an_unwritable_folder_is_found_before_any_work(tmp_path):
    (tmp_path / "file").write_text("a regular file")
    done = _cfgadvise("train", "--auto", "--out", str(tmp_path / "file" / "run"))
    assert done.returncode == 6, done.stderr
    assert str(tmp_path / "file" / "run") in done.stderr
    assert "measuring" not in done.stderr


def test_a_dry_run_prints_the_configuration_and_writes_nothing(tmp_path):
    done = _cfgadvise("train", "--dry-run", "--out", str(tmp_path / "run"))
    assert done.returncode == 0, done.stderr
    assert 'preset = "tiny"' in done.stdout
    assert not (tmp_path / "run").exists()


def test_one_picture_trains_with_a_warning(tmp_path):
    make_pictures(tmp_path / "d", per_class=1, classes=("red",))
    done = _cfgadvise(
        "train", "--data", str(tmp_path / "d"), "--out", str(tmp_path / "run"), "--samples", "64",
        "--set", "image_size=8", "--set", "micro_batch=8",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "only one picture" in done.stderr
    assert "each comes 8.00 times in every batch" in done.stderr


def test_two_runs_cannot_share_a_folder(tmp_path):
    run = ["train", "--out", str(tmp_path / "run"), "--samples", "40000"]
    first = subprocess.Popen([*COMMAND, *run], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        assert "step" in first.stderr.readline()
        second = _cfgadvise(*run)
        assert second.returncode == 6
        assert f"process {first.pid}" in second.stderr
    finally:
        first.kill()
        first.wait()
        first.stderr.close()
