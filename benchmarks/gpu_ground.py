"""What all parts of the programme share: the device, its simulated twin, forecasts, and attempts side by side."""

import concurrent.futures
import dataclasses
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from advisor.hardware.gpus import Gpu, find_gpu
from advisor.measure.attempts import Attempt, Attempts, Plan
from advisor.measure.campaign import Place, Subject
from advisor.predict.cards import Card, card_of, context_bytes
from advisor.predict.memory import MemoryModel, predict_memory
from advisor.predict.simulation import Simulation
from advisor.records import Device, Value, record
from advisor.units import GIB
from benchmarks.gpu_frame import Box, SkippedError

NETS = Path(__file__).resolve().parents[1] / "tests" / "fakes"
SPEC = f"{Path(__file__).resolve().parent / 'gpu_workloads.py'}:make"
DRY_CARD = "NVIDIA H100 80GB HBM3"  # simulated where there is no card, so that the same code runs
EXPANDABLE = {"PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True"}  # of a child's environment
FORECAST_TIMEOUT_S = 120.0
CORES_PER_CHILD, MOST_CHILDREN = 3, 5
MOST_SIMULATIONS = 3  # of two children each


@record
class Ground:
    """Where the programme runs. ``gpu``: the card's row in the table, ``None`` if it has none."""

    device: Device
    torch_device: str
    environment: dict[str, str]
    card: Card
    gpu: Gpu | None
    num_workers: int

    @property
    def on_card(self) -> bool:
        """Whether there is a CUDA card; else this is a dry run, and only tensors can be counted."""
        return self.device.kind == "cuda"

    def place(self, budget_bytes: int | None = None, environment: Mapping[str, str] | None = None) -> Place:
        """The device for a child; the cap is the card's, on a CPU the workload keeps its own."""
        return Place(
            torch_device=self.torch_device,
            environment={**self.environment, **(environment or {})},
            budget_bytes=budget_bytes if self.on_card else None,
        )

    def require_card(self) -> None:
        """Nothing more can be done without a card.

        Raises:
            SkippedError: if there is none.
        """
        if not self.on_card:
            raise SkippedError("no CUDA device")


def ground_of(device: Device, num_cores: int) -> Ground:
    """The ground on this device, with as many children at once as its computer has cores for."""
    on_card = device.kind == "cuda"
    gpu = find_gpu(device.name, device.total_bytes, device.num_cores) if on_card else find_gpu(DRY_CARD)
    return Ground(
        device=device,
        torch_device=("cuda:0" if device.uuid else f"cuda:{device.index or 0}") if on_card else "cpu",
        environment={"CUDA_VISIBLE_DEVICES": device.uuid} if on_card and device.uuid else {},
        card=_card(device, gpu),
        gpu=gpu,
        num_workers=max(1, min(MOST_CHILDREN, num_cores // CORES_PER_CHILD)),
    )


def _card(device: Device, gpu: Gpu | None) -> Card:
    if gpu is not None:
        return card_of(gpu)
    capability = float(device.compute_capability or 0)
    return Card(
        name=device.name,
        compute_capability=capability,
        total_bytes=device.total_bytes or 0,
        context_bytes=context_bytes(capability),
    )


def subject(net: str, precision: str = "fp32", **parameters: Value) -> Subject:
    """One of the nets of ``gpu_workloads``."""
    return Subject(spec=SPEC, parameters={"net": net, "precision": precision, **parameters})


class Forecasts:
    """Memory of workloads on the simulated card, traced in the background while the card itself is at work."""

    def __init__(self, ground: Ground) -> None:
        self._card = ground.card
        self._local = threading.local()
        self._simulations: list[Simulation] = []
        self._pool = concurrent.futures.ThreadPoolExecutor(min(MOST_SIMULATIONS, ground.num_workers))
        self._asked: dict[tuple[tuple[str, Value], ...], concurrent.futures.Future[MemoryModel]] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> "Forecasts":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        for simulation in self._simulations:
            simulation.close()

    def ask(self, subject: Subject, accumulation: int = 1) -> None:
        """Begin with this one as soon as those before it are done."""
        self._future(subject, accumulation)

    def of(self, subject: Subject, box: Box, accumulation: int = 1) -> MemoryModel:
        """The forecast, waited for as long as the box lasts.

        Raises:
            CfgadviseError: why there is none.
            TimeoutError: if it is not there yet.
        """
        try:
            return self._future(subject, accumulation).result(timeout=box.left_s)
        except concurrent.futures.TimeoutError:
            raise TimeoutError("the forecast is not ready") from None

    def _future(self, subject: Subject, accumulation: int) -> concurrent.futures.Future[MemoryModel]:
        free = {name: value for name, value in subject.parameters.items() if name not in ("limit_bytes",)}
        key = (("spec", subject.spec), ("accumulation", accumulation), *sorted(free.items()))
        with self._lock:
            if key not in self._asked:
                whole = dataclasses.replace(subject, parameters=free)
                self._asked[key] = self._pool.submit(self._predict, whole, accumulation)
            return self._asked[key]

    def _predict(self, subject: Subject, accumulation: int) -> MemoryModel:
        simulation = getattr(self._local, "simulation", None)
        if simulation is None:  # each thread has its own
            simulation = self._local.simulation = Simulation()
            self._simulations.append(simulation)
        return predict_memory(
            subject.spec,
            subject.parameters,
            self._card,
            accumulation=accumulation,
            simulation=simulation,
            timeout_s=FORECAST_TIMEOUT_S,
        )


def attempt_all(
    ground: Ground, subject: Subject, plans: Sequence[Plan], box: Box, place: Place | None = None
) -> list[Attempt]:
    """Every plan in a child of its own, one after the other, as long as the box lasts; none after one that failed.

    On a CPU nothing is said to be reserved: its resident set is something else than what is taken from a card.
    """
    found: list[Attempt] = []
    with Attempts(
        subject,
        place or ground.place(),
        decider="reserved" if ground.on_card else "allocated",
        timeout_s=box.left_s,
    ) as attempts:
        for plan in plans:
            if box.is_over() or (found and found[-1].outcome != "ok"):
                break
            one = attempts.run(plan)
            found.append(one if ground.on_card else dataclasses.replace(one, peak_reserved_bytes=None))
    return found


def side_by_side(num_workers: int, works: Sequence[Callable[[], None]]) -> None:
    """Run these in threads, so many at once. The first error of any is raised when all have ended."""
    with concurrent.futures.ThreadPoolExecutor(num_workers) as pool:
        futures = [pool.submit(work) for work in works]
    for future in futures:
        future.result()


def default_cap_bytes(ground: Ground, children: int) -> int:
    """For the allocator of each child, so that as many fit at once: 8 GiB where the card has the room."""
    usable_bytes = ground.device.usable_bytes or ground.device.free_bytes or 0
    room_bytes = usable_bytes // max(1, children) - ground.card.context_bytes
    return max(GIB, min(8 * GIB, room_bytes))
