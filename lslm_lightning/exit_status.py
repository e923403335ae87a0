"""Exit statuses of commands, and the error for wrong settings."""

DONE = 0
FAILED = 1
WRONG_ARGUMENTS = 2
GATE_FAILED = 3  # of `lslm gate` alone: all was compared, and the run does not pass
INTERRUPTED = 130  # 128 + SIGINT


class SettingsError(SystemExit):
    """Error for wrong settings, arguments or configs.

    A command prints the message and exits with status 2. The error is not an `Exception`, because
    parsers catch exceptions of the classes that they try to build.
    """

    def __init__(self, message: str) -> None:
        super().__init__(WRONG_ARGUMENTS)
        self.message = message

    def __str__(self) -> str:
        return self.message
