"""What is said and shown of a call wherever execution paths are drawn: words, colours of services, printable labels."""

from collections.abc import Callable, Iterable
from typing import Final

from otel_tracead.artifact.manifest import Manifest
from otel_tracead.detection.paths import TOLERANCE, Node, Operation
from otel_tracead.reports.rendering import count, percent
from otel_tracead.traces.labels import CALLEE

AT_ONCE: Final = "at once"
AGAIN: Final = "\N{CLOCKWISE OPEN CIRCLE ARROW}"
"""More such calls come after a later sibling."""
_COLOURS: Final = (
    *("#3b7dd8", "#d9822b", "#2f9e6e", "#c2498c", "#7a5cd1", "#b59b00", "#17a2b8", "#d64545"),
    *("#6b8e23", "#a0522d", "#5f7d95", "#e06fae"),
)
_UNKNOWN: Final = "#8a93a3"


def printable(text: str) -> str:
    """Give *text* with nothing in it that moves a cursor, turns the direction of writing, or that XML forbids."""
    return "".join(one if one.isprintable() else " " if one.isspace() else "\ufffd" for one in text)


def operation_title(operation: Operation) -> str:
    """Name an operation, with how many traces training showed."""
    return f"{operation.root} ({count(operation.traces)} {'trace' if operation.traces == 1 else 'traces'})"


def call_note(node: Node) -> str:
    """Say what is uncertain about a call, in a few characters (share, mean count, at once); nothing if it always comes once."""
    said = []
    if node.probability < 1 - TOLERANCE:
        said.append(percent(node.probability))
    if node.repeated or node.concurrent:
        said.append(f"\N{MULTIPLICATION SIGN}{node.mean_count:.1f}".removesuffix(".0"))
    if node.concurrent:
        said.append(AT_ONCE)
    if node.again_after is not None:
        said.append(AGAIN)
    return " ".join(said)


def known_services(manifest: Manifest) -> list[str]:
    """Give the services that a model was trained on, as far as its manifest names them."""
    named = manifest.training.get("services", [])
    return [one for one in named if isinstance(one, str)] if isinstance(named, list) else []


def service_of(services: Iterable[str]) -> Callable[[str], str]:
    """Give the function that finds a label's service among *services*, "" where there is none.

    Labels are made by a template that users choose; the service stands somewhere in them, most often first.
    """
    known = sorted({service for service in services if service}, key=lambda name: (-len(name), name))

    def found(label: str) -> str:
        words = f" {label.partition(CALLEE)[0]} "
        inside = [service for service in known if f" {service} " in words]
        return min(inside, key=lambda service: words.index(f" {service} "), default="")

    return found


def colours_of(services: Iterable[str]) -> Callable[[str], str]:
    """Give the function that gives the colour of a service, the same whatever else is drawn."""
    place = {service: index for index, service in enumerate(sorted(set(services)))}

    def colour(service: str) -> str:
        return _COLOURS[place[service] % len(_COLOURS)] if service in place else _UNKNOWN

    return colour
