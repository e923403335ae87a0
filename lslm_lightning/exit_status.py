"""Exit statuses of commands, and the error of wrong settings."""

DONE = 0
FAILED = 1
WRONG_ARGUMENTS = 2


class SettingsError(SystemExit):
    """Error for wrong settings, arguments or configs.

    A command prints the message and ends with the status 2. It is no `Exception`: parsers take
    those for errors of a class that they try.
    """

    def __init__(self, message: str) -> None:
        super().__init__(WRONG_ARGUMENTS)
        self.message = message

    def __str__(self) -> str:
        return self.message
