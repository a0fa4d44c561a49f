"""``cfgadvise probe`` and ``gpus`` as people run them; cards come from a scripted libnvidia-ml.so.1."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.cells import cell_len

from advisor import schema
from advisor.records import Probe

FAKES = Path(__file__).parents[1] / "fakes"
SCENARIOS = sorted(path.stem for path in (FAKES / "nvml_scenarios").glob("*.txt"))
COMMAND = [sys.executable, "-c", "from advisor.cli.app import main; main()"]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {
        name: value for name, value in os.environ.items() if name not in ("CUDA_VISIBLE_DEVICES", "PYTHONWARNINGS")
    }
    return subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        env={**clean, **environment},
        timeout=120,
        encoding="utf-8",
    )


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    """The folder of the scripted library, compiled once."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs Linux and a C compiler")
    folder = tmp_path_factory.mktemp("nvml")
    options = ["-std=c11", "-D_POSIX_C_SOURCE=200809L", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    output = ["-Wl,-soname,libnvidia-ml.so.1", "-o", str(folder / "libnvidia-ml.so.1")]
    subprocess.run([compiler, *options, *output, str(FAKES / "fake_nvml.c")], check=True)
    return folder


@pytest.fixture
def probed(library):
    def probe_scenario(scenario: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        path = str(FAKES / "nvml_scenarios" / f"{scenario}.txt")
        return run("probe", *arguments, LD_LIBRARY_PATH=str(library), FAKE_NVML_SCENARIO=path, **environment)

    return probe_scenario


def read(answer: subprocess.CompletedProcess[str]) -> Probe:
    assert answer.returncode == 0, answer.stderr
    return schema.from_json(Probe, answer.stdout, where="stdout")


def test_json_of_this_machine():
    found = read(run("probe", "--json"))
    assert found.devices[-1].kind == "cpu"
    assert json.loads(run("probe", "--json").stdout)["schema"] == "cfgadvise.probe/1"


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_same_cards_through_a_real_library_as_through_the_binding_alone(probed, scenario):
    """The golden files were made with a scripted object under the binding; here the binding loads a library."""
    golden = json.loads((FAKES.parent / "golden" / "probe" / f"{scenario}.json").read_text(encoding="utf-8"))
    found = json.loads(schema.to_json(read(probed(scenario, "--json"))))
    names = ("processes", "total_bytes", "free_bytes", "usable_bytes")  # these depend on the machine around the card
    for device in golden["devices"][:-1] + found["devices"][:-1]:
        device["processes"] = [process["pid"] for process in device["processes"] or ()]
        for name in names if device["integrated"] else ():
            device.pop(name)
    assert found["devices"][:-1] == golden["devices"][:-1]


@pytest.mark.parametrize("scenario", ["rtx3090_and_p100", "driver_mismatch"])
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_people_see_it_in_their_language(probed, scenario, lang):
    answer = probed(scenario, CFGADVISE_LANG=lang)
    assert answer.returncode == 0, answer.stderr
    assert "Traceback" not in answer.stderr
    assert len(answer.stdout.splitlines()) > 3


def test_strict_leaves_with_10_where_something_blocks(probed):
    assert probed("driver_mismatch", "--strict").returncode == 10
    assert probed("driver_mismatch").returncode == 0
    assert run("probe", "--strict").returncode == 0


def test_one_device_only(probed):
    found = read(probed("rtx3090_and_p100", "--json", "--device", "GPU-9999"))
    assert [device.name for device in found.devices] == ["Tesla P100-PCIE-16GB"]


def test_a_device_that_is_not_there(probed):
    answer = probed("p100", "--device", "cuda:5")
    assert answer.returncode == 3
    assert answer.stdout == ""
    assert "there are cpu, cuda:0 (Tesla P100-PCIE-16GB" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_visible_devices_are_respected(probed):
    found = read(probed("rtx3090_and_p100", "--json", CUDA_VISIBLE_DEVICES="GPU-9999"))
    assert [device.index for device in found.devices] == [None, 0, None]


def test_torch_is_not_imported_here():
    code = (
        "import sys; from advisor.hardware.probe import probe; probe(); "
        "print([name for name in ('torch', 'numpy', 'diffusers', 'optuna') if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_the_probe_costs_little_more_than_starting_python():
    """Relative to an import of torch, for clocks differ: a probe must not contain one."""

    def elapsed_s(command: list[str]) -> float:
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        return time.perf_counter() - started

    probing = min(elapsed_s([*COMMAND, "probe", "--json"]) for _ in range(2))
    importing = min(elapsed_s([sys.executable, "-c", "import torch"]) for _ in range(2))
    assert probing < importing


METERED = """
import sys, time
from advisor.hardware.meter import open_meter
meter = open_meter(sys.argv[1])
print("ready", flush=True)
for _ in sys.stdin:
    meter.poll()
    reading = meter.read()
    print(reading.energy_source, reading.power_w, reading.temperature_c, reading.unknown.get("energy_j"), flush=True)
print("trained to the end", flush=True)
"""


@pytest.fixture
def metered(library, tmp_path):
    """A process that reads its card's meter at every line it is given, and the file that scripts the card."""
    opened = []

    def start(scenario: str, uuid: str) -> tuple[subprocess.Popen[str], Path]:
        world = tmp_path / "world.txt"
        world.write_text((FAKES / "nvml_scenarios" / f"{scenario}.txt").read_text(encoding="utf-8"), encoding="utf-8")
        scripted = {"LD_LIBRARY_PATH": str(library), "FAKE_NVML_SCENARIO": str(world), "FAKE_NVML_RELOAD": "1"}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        process = subprocess.Popen([sys.executable, "-c", METERED, uuid], env={**os.environ, **scripted}, **pipes)
        opened.append(process)
        assert process.stdout.readline() == "ready\n"
        return process, world

    yield start
    for process in opened:
        process.kill()
        with process:  # closes its pipes and waits for it
            pass


@pytest.mark.parametrize(
    ("scenario", "source"),
    [("p100", "integrated"), ("h100", "counter")],
)
def test_a_card_that_is_lost_in_the_middle_of_a_run_stops_nothing(metered, scenario, source):
    text = (FAKES / "nvml_scenarios" / f"{scenario}.txt").read_text(encoding="utf-8")
    uuid = next(line.partition("=")[2] for line in text.splitlines() if line.startswith("0.uuid="))
    process, world = metered(scenario, uuid)

    def asked() -> str:
        process.stdin.write("\n")
        process.stdin.flush()
        return process.stdout.readline().strip()

    first = asked()
    assert first.split()[0] == source and first.endswith(" None")
    world.write_text(text + "0.err.*=15\n", encoding="utf-8")
    assert asked() == "None None None lost"
    world.write_text(text, encoding="utf-8")
    assert asked() == "None None None lost"  # a card that comes back is another one to a CUDA context
    process.stdin.close()
    assert process.stdout.readline() == "trained to the end\n"
    assert process.wait(timeout=20) == 0


class TestGpus:
    def test_the_table(self):
        gpus = json.loads(run("gpus", "--json").stdout)
        assert gpus["schema"] == "cfgadvise.gpus/1"
        assert len(gpus["gpus"]) >= 39
        assert all(gpu["source"] for gpu in gpus["gpus"])

    def test_one_card_by_name(self):
        gpus = json.loads(run("gpus", "rtx4090", "--json").stdout)["gpus"]
        assert [gpu["name"] for gpu in gpus] == ["NVIDIA GeForce RTX 4090"]

    def test_all_variants_of_a_name(self):
        gpus = json.loads(run("gpus", "A100", "--json").stdout)["gpus"]
        assert len(gpus) == 4

    @pytest.mark.parametrize("lang", ["en", "zh"])
    def test_the_whole_table_in_80_columns_without_a_figure_cut_off(self, lang):
        text = run("--lang", lang, "gpus", COLUMNS="80").stdout
        assert max(map(cell_len, text.splitlines())) <= 80
        assert "\u2026" not in text
        assert "4090" in text and "1008" in text and "82.6" in text

    def test_an_unknown_name_is_an_error_with_near_ones(self):
        answer = run("gpus", "RTX 4091")
        assert answer.returncode == 2
        assert "RTX 4090" in answer.stderr
        assert answer.stdout == ""

    @pytest.mark.parametrize("lang", ["en", "zh"])
    def test_people_see_names_figures_and_sources(self, lang):
        answer = run("--lang", lang, "gpus", "P100")
        assert answer.returncode == 0
        for shown in ("Tesla P100-PCIE-16GB", "9.3", "732", "tech4gamers.com"):
            assert shown in answer.stdout
