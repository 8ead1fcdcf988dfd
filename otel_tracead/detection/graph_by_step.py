"""The half of a network that reads what its layer of labels gives, for traces that begin there, laid out step by step.

A whole network takes and gives traces row by row, and turns them for its layers, which want step by step; it takes the state
that a window of a long trace begins with. Without both a run costs a tenth less, and that of a single trace a fifth.

What comes out is the same, but for one bit in some ten thousand positions: ONNX Runtime takes the last few logarithms of an
array by another function than the others. Row by row these were of the last events of one trace; now they are of ends.
"""

from typing import Final

from google.protobuf.message import DecodeError

from otel_tracead.detection.graph_cut import FLOAT, INT32, part, read, value

GIVEN: Final = {
    "labels_by_step": (INT32, 2),
    "times_by_step": (FLOAT, 3),
    "labels_came": (INT32, 2),
    "times_came": (FLOAT, 2),
    "label_out": (FLOAT, 3),
}
"""What it takes: type and rank of each. The first two are of the step before: what the others tell is yet to come."""
MADE: Final = {
    "label_surprise": (FLOAT, 2),
    "time_surprise": (FLOAT, 2),
    "weight": (FLOAT, 3),
    "mean": (FLOAT, 3),
    "log_scale": (FLOAT, 3),
    "log_probabilities": (FLOAT, 3),
}
"""What it gives, likewise: `[steps, traces]`; the mixture's parts `[components, steps, traces]`; `log_probabilities` `[steps,
traces, classes]`."""
_TURNED: Final = {"joined": "joined_by_step"}  # what was turned row by row, by what it was turned from
_LSTM_INPUTS: Final = 5  # then come initial states: 0 where they are left out


def by_step(second: bytes) -> bytes | None:
    """Lay the second half of a network out step by step; None where it has not the tensors of ours."""
    try:
        model = read(second)
    except DecodeError:
        return None
    made = {name for node in model.graph.node for name in node.output} | {one.name for one in model.graph.input}
    if not {*GIVEN, *MADE, *_TURNED, *_TURNED.values()} <= made:
        return None
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = _TURNED.get(name, name)
        if node.op_type == "LSTM":
            del node.input[_LSTM_INPUTS:]
    takes, gives = ([value(name, *kind) for name, kind in kinds.items()] for kinds in (GIVEN, MADE))
    return bytes(part(model, gives=gives, takes=takes).SerializeToString())
