"""A study is opened by who knows its slots, and joined by who works on them."""

from collections.abc import Sequence

import optuna

from advisor.errors import UsageError
from advisor.refine.database import shown
from advisor.refine.records import Slot
from advisor.refine.study.sampling import Space
from advisor.refine.study.storage import Place, open_storage, storage_errors, without_warnings
from advisor.refine.study.work import Study


def open_study(place: Place, space: Space, slots: Sequence[Slot]) -> Study:
    """The study with every slot in it; several programs may do this at once.

    Raises:
        UsageError: if the storage is not one that Optuna knows, or its driver is not installed.
        StorageError: if the storage cannot be reached or written.
    """
    with storage_errors(place.url), without_warnings():
        storage = open_storage(place)
        try:
            found = optuna.create_study(study_name=place.name, storage=storage, direction="minimize")
        except optuna.exceptions.DuplicatedStudyError:
            study = join_study(place, space)
            study.wait_for_slots()
        else:
            found.set_metric_names(["validation loss"])  # what optuna-dashboard calls it
            study = Study(found, place, space)
        study.release_dead()
        study.fill(slots)
        return study


def join_study(place: Place, space: Space, sampler_seed: int | None = None) -> Study:
    """A study that somebody else has opened.

    Raises:
        UsageError: if there is none, or the storage is not one that Optuna knows.
        StorageError: if the storage cannot be reached or written.
    """
    with storage_errors(place.url), without_warnings():
        try:
            found = optuna.load_study(study_name=place.name, storage=open_storage(place))
        except KeyError:
            raise UsageError(f"{shown(place.url)} holds no study {place.name!r}") from None
        return Study(found, place, space, sampler_seed)
