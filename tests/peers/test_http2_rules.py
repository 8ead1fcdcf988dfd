"""The gRPC receiver keeps the rules of HTTP/2, says h2spec; what it does otherwise on purpose stands here with the reason."""

import asyncio
from pathlib import Path

import pytest

from tests.receivers.otlp.test_grpc_connection import EXPORT, Server
from tools.peers import Unavailable, h2spec

pytestmark = pytest.mark.peers

_NO_BODY = "h2spec waits for the body of a page; a GET is no call, and gRPC refuses it by headers alone"
_AT_ONCE = (
    "h2spec's GET is refused before the rule is broken, so the stream is over; our own tests try it on an open one"
)
_NO_PRIORITY = "RFC 9113, section 5.3: priorities are deprecated, and we heed none"
EXCEPTIONS = {
    "generic/2: Sends a WINDOW_UPDATE frame on half-closed (remote) stream": _NO_BODY,
    "generic/2: Sends a PRIORITY frame on half-closed (remote) stream": _NO_BODY,
    "http2/5.1.2: Sends HEADERS frames that causes their advertised concurrent stream limit to be exceeded": _AT_ONCE,
    "http2/6.9.1: Sends multiple WINDOW_UPDATE frames increasing the flow control window to above 2^31-1 on a stream": _AT_ONCE,
    "http2/5.3.1: Sends HEADERS frame that depend on itself": _NO_PRIORITY,
    "http2/5.3.1: Sends PRIORITY frame that depend on itself": _NO_PRIORITY,
}


async def test_every_rule_of_http2(tmp_path: Path) -> None:
    try:
        h2spec.binary()
    except Unavailable as missing:
        pytest.skip(str(missing))
    # h2spec's body is "test", which begins a message of 1.6 GiB; it shall not be refused for that.
    async with Server(max_recv_msg_size_mib=2000) as server:
        port = server.receiver.ports["grpc"]
        tried, broken = await asyncio.to_thread(h2spec.failures, port, EXPORT, tmp_path / "report.xml")
    assert {rule: said for rule, said in broken.items() if rule not in EXCEPTIONS} == {}
    assert tried > 130
