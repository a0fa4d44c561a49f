"""How many pictures a run draws, judges and validates with, for itself and for its forecast. Loads no torch."""

MAX_GENERATED = 1000
MAX_AT_MILESTONE = 256
MIN_AT_MILESTONE = 64  # fewer say next to nothing: no copy among 64 may still be 6 %
MAX_IN_SWEEP = 256  # of each guidance scale and number of steps that is tried
MAX_GRID_CLASSES = 64  # more would make a picture that nobody looks through
BAND_COLUMNS = 16  # of a grid; more classes go on in a further band below
GRID_ROWS = 8
MAX_VALIDATED, MIN_VALIDATED = 256, 64  # fixed tuples of a validation
NUM_BUCKETS = 8  # of noise, that the checks compare
# Sampling one picture costs about as much as training on 20 / 3; this keeps the evaluation at the end
# near 15 % of a run, and those at the milestones together below 7 %.
_TRAINING_SAMPLES_PER_GENERATED = 40
_TRAINING_SAMPLES_PER_MILESTONE_GENERATED = 100


def num_to_generate(training_samples: int, num_classes: int) -> int:
    """How many pictures the evaluation at the end of a run draws: the same number for every class."""
    return even(min(MAX_GENERATED, training_samples // _TRAINING_SAMPLES_PER_GENERATED), num_classes)


def num_at_milestone(training_samples: int, num_milestones: int, num_classes: int) -> int:
    """How many pictures are judged at each milestone; 0 if that would cost too much or say too little."""
    affordable = training_samples // _TRAINING_SAMPLES_PER_MILESTONE_GENERATED // max(1, num_milestones - 1)
    wanted = even(min(MAX_AT_MILESTONE, affordable), num_classes)
    return wanted if MIN_AT_MILESTONE <= wanted <= affordable else 0


def even(count: int, num_classes: int) -> int:
    """As many of every class, at least one."""
    return max(1, count // num_classes) * num_classes


def grid_rows(num_classes: int) -> int:
    """Pictures of each class in a grid."""
    return GRID_ROWS if num_classes <= BAND_COLUMNS else GRID_ROWS // 2


def num_validated(num_held_out: int) -> int:
    """Fixed tuples of a validation: as many in each of the buckets that the health checks compare."""
    if not num_held_out:
        return 0
    wanted = max(MIN_VALIDATED, min(MAX_VALIDATED, num_held_out))
    return -(-wanted // NUM_BUCKETS) * NUM_BUCKETS
