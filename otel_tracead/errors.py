"""The errors that cross a border between modules; whether to try again is the type.

TraceadError
├── ConfigError            what the user wrote: exit 1 with every problem and its `a::b::c` path
├── ArtifactError          a model artifact that is refused: exit 1
├── InputError             a trace file that cannot be read: exit 1 with file:line
├── StartError             a component that cannot start (a port in use): exit 1 with its id
└── PipelineError          while spans are on their way
├── PermanentError     the same input will always fail: drop and count
│   ├── Unauthenticated    a request without the right credentials: 401 / UNAUTHENTICATED
│   └── InvalidRequest     a body that is not what it says: 400 / INVALID_ARGUMENT
│       └── TooLarge       over the size limit: 413 / RESOURCE_EXHAUSTED
└── RetryableError     try again, after `retry_after` seconds where given
└── Backpressure       a queue or the memory limit is full: 503 / UNAVAILABLE
"""

from collections.abc import Sequence


class TraceadError(Exception):
    """Base of every error that otel-tracead raises on purpose."""


class ConfigError(TraceadError):
    """A configuration that cannot run; carries every problem that was found.

    Attributes:
        problems: one message each, with its `a::b::c` path first.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class ArtifactError(TraceadError):
    """A model artifact with a wrong checksum, schema or shape."""


class InputError(TraceadError):
    """A trace file that cannot be read; the message starts with file:line."""


class StartError(TraceadError):
    """A component that cannot start; the message names it and says why."""


class PipelineError(TraceadError):
    """Something went wrong while spans were on their way."""


class PermanentError(PipelineError):
    """The same input will always fail: drop it and count it."""


class Unauthenticated(PermanentError):  # noqa: N818 (named as the status code it becomes)
    """A request without the right credentials; the message never says what they were."""


class InvalidRequest(PermanentError):  # noqa: N818 (named as the status code it becomes)
    """A request whose body is not what it says it is."""


class TooLarge(InvalidRequest):
    """A request body over the size limit, before or after decompression."""


class RetryableError(PipelineError):
    """The same input may pass later.

    Attributes:
        retry_after: seconds to wait, where the other side said so.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Backpressure(RetryableError):  # noqa: N818 (the field's word)
    """A queue or a memory limit is full: the sender shall come back."""
