"""What can go wrong, by whose fault: the command line turns each class into its exit code."""


class EquipoiseError(Exception):
    """Base of every error raised on purpose; its message is one sentence for the user."""

    exit_code = 1


class InputError(EquipoiseError, ValueError):
    """The input cannot work: the message says what came, why it cannot work, and what to do instead."""

    exit_code = 2


class Interrupted(EquipoiseError):
    """Somebody asked twice to stop, and it was done at once."""

    exit_code = 130


class TrainingFailed(EquipoiseError, RuntimeError):
    """Training could not go on; the last good state has been kept and the message says where."""

    exit_code = 3
