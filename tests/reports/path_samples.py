"""Execution paths for tests of what draws them."""

from otel_tracead.detection.paths import Group, Node, Operation


def node(number: int, label: str, caller: int | None, depth: int, **changes: object) -> Node:
    content = {"probability": 1.0, "mean_count": 1.0, "concurrent": False, "rarer": 0}
    return Node(id=number, label=label, caller=caller, depth=depth, **(content | changes))


def group(caller: int, position: int, members: tuple[int, ...], **changes: object) -> Group:
    pairs = tuple((one, other) for one in members for other in members if one < other)
    content = {"concurrent": len(members) > 1, "certain": True, "after": (), "pairs": pairs, "order": ()}
    return Group(caller=caller, position=position, members=members, **(content | changes))


def page(name: str = "home") -> Operation:
    """A page that reads a cart, then three things at once, then looks products up in rounds."""
    return Operation(
        root=f"front {name}",
        traces=1234,
        nodes=(
            node(0, f"front {name}", None, 0),
            node(1, "front GetCart → cart", 0, 1),
            node(2, "cart GetCart", 1, 2, rarer=2),
            node(3, "front Ads → ads", 0, 1, probability=0.625),
            node(4, "front Rates → rates", 0, 1),
            node(5, "front List → list", 0, 1),
            node(6, "front Product → list", 0, 1, mean_count=2.5, again_after=7),
            node(7, "front Convert → rates", 0, 1, mean_count=4.0, concurrent=True),
        ),
        groups=(
            group(0, 0, (1,)),
            group(0, 1, (3, 4, 5), certain=False, after=(0,), pairs=((3, 4), (4, 5)), order=((3, 5),)),
            group(0, 2, (6,), certain=False, after=(1,)),
            group(0, 3, (7,), certain=False, after=(0,), concurrent=True),
            group(1, 0, (2,)),
        ),
    )
