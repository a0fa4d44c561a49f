"""The errors that a user may see, each with the exit code that a script may test for.

    CfgadviseError            1   internal error: a defect of ours
    |-- UsageError            2   a wrong option, configuration or record
    |   `-- WorkloadError     2   the user's own training step raised: shown with the user's own traceback
    |-- DeviceError           3   no usable device, or nothing fits on it
    |-- DataError             4   pictures that cannot be used
    |-- CheckpointError       5   checkpoints exist, and none can be trusted
    |-- StorageError          6   disk full, read-only or locked by another run
    |-- NonFiniteError        7   the loss, a gradient or a weight is NaN or infinite
    `-- Interrupted     130/143   SIGINT or SIGTERM: progress was saved

Every message says what is wrong, where, and what to do about it.
"""


class CfgadviseError(Exception):
    """Base of all errors that the command line turns into one message and an exit code."""

    exit_code = 1


class UsageError(CfgadviseError):
    """A command-line option, configuration value or record is wrong."""

    exit_code = 2


class WorkloadError(UsageError):
    """The user's own code raised while a training step was built or run.

    Attributes:
        traceback_text: the traceback of the user's exception, as Python printed it.
    """

    def __init__(self, message: str, traceback_text: str) -> None:
        super().__init__(message)
        self.traceback_text = traceback_text


class DeviceError(CfgadviseError):
    """No device is usable, or nothing fits on the one that was asked for."""

    exit_code = 3


class DataError(CfgadviseError):
    """The pictures cannot be used as they are."""

    exit_code = 4


class CheckpointError(CfgadviseError):
    """Checkpoints exist, but none of them is complete and undamaged."""

    exit_code = 5


class StorageError(CfgadviseError):
    """The disk is full or read-only, or another run holds the folder."""

    exit_code = 6


class NonFiniteError(CfgadviseError):
    """A loss, gradient or weight is NaN or infinite; nothing was updated with it."""

    exit_code = 7


class Interrupted(CfgadviseError):
    """The run was asked to stop by a signal, and stopped at a safe point."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number
