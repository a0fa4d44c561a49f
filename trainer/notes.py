"""What a run tells its user: an id, the English sentence, and the values that fill it.

Written as in :mod:`advisor.recommend.reasons`, so that the reports can say it in another language.
"""

from advisor.recommend.reasons import fill
from advisor.records import Note, Value

NOTES: dict[str, str] = {
    "resumed": "Going on from the checkpoint at {samples:count} samples.",
    "already_finished": "{path} is finished; for another run choose another --out.",
    "encoding": "Encoding {count:count} pictures with the VAE; this is done once.",
    "samples_drawn": "Samples after {samples:count} pictures seen: {path}",
    "generating": "Generating {count:count} pictures to evaluate.",
    "no_classifier": "No classifier was trained: that takes two classes and held-out pictures.",
    "data_animated": "{count} animated pictures: only the first frame is used ({names}).",
    "data_one_picture": "There is only one picture: the result can only be a copy of it.",
    "other_batch_from_here": (
        "The gradient noise scale is {value:count} samples ({low:count} to {high:count}) at {share:percent} of the run:"
        " from here micro-batch {micro_batch} x accumulation {accumulation} with learning rate {lr:lr} would take"
        " {ratio:ratio} of the time to the same progress ({ratio_low:ratio} to {ratio_high:ratio})."
        " Nothing was changed: the batch of a run stays what it is."
    ),
    "batch_repeats": "{num_train} training pictures, batch {batch}: each comes {times:ratio} times in every batch.",
    "micro_batch_halved": "Out of memory: micro-batch {before} becomes {after}, the effective batch stays the same.",
    "save_failed": "No checkpoint at {samples:count} samples: {problem}",
}


def note(note_id: str, **values: Value) -> Note:
    """A note of the catalogue, with its English sentence."""
    return Note(id=note_id, text=fill(NOTES[note_id], values), values=values)
