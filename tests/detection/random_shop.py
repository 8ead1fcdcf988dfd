"""Shops that nobody designed: random operations with calls in order, at once, repeated and left out."""

import random

from otel_tracead.generator.topology import (
    Call,
    Internal,
    Operation,
    Parallel,
    Protocol,
    Repeat,
    Service,
    Step,
    Topology,
)

SERVICES = tuple(Service(name=f"s{number}", workers=32, instances=1 + number % 2) for number in range(12))


def random_shop(seed: int, roots: int = 6) -> Topology:
    """Give a shop whose operations call operations of deeper levels; each takes 1 to 30 ms."""
    chance = random.Random(seed)
    levels: list[list[Operation]] = []
    for depth in range(4):
        below = [operation for level in levels for operation in level]
        # No service calls itself: a label names the callee where it is another process, which would then be chance.
        levels.append(
            [
                Operation(
                    service=service,
                    name=f"Api/Do{depth}{number}",
                    protocol=Protocol.GRPC,
                    median_ms=chance.choice((1.0, 3.0, 10.0, 30.0)),
                    steps=_steps([one for one in below if one.service is not service], chance) if below else (),
                    failure_rate=0.002,
                )
                for number, service in enumerate(chance.sample(SERVICES, roots))
            ]
        )
    return Topology(tuple((operation, 1.0) for operation in levels[-1]))


def _steps(below: list[Operation], chance: random.Random) -> tuple[Step, ...]:
    names = chance.sample(below, min(len(below), chance.randint(1, 6)))
    steps: list[Step] = []
    while names:
        kind = chance.random()
        if kind < 0.35 and len(names) > 1:
            taken = [names.pop() for _ in range(chance.randint(2, len(names)))]
            steps.append(Parallel(tuple(Call(one) for one in taken)))
        elif kind < 0.5:
            steps.append(Repeat(tuple(Call(names.pop()) for _ in range(min(len(names), 2))), chance.randint(0, 1), 3))
        elif kind < 0.6:
            steps.append(Call(names.pop(), probability=chance.choice((0.2, 0.5, 0.8))))
        elif kind < 0.7:
            steps.append(Internal(f"work{len(names)}", 1.0, (Call(names.pop()),)))
        else:
            steps.append(Call(names.pop()))
    return tuple(steps)
