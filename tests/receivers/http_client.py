"""The client's side of the HTTP receivers' contract."""

import aiohttp

from tests.contract.receiver_contract import COMPRESS, Reply


async def post(
    url: str, body: bytes, content_type: str, encoding: str = "", compressed: bytes | None = None
) -> tuple[Reply, str, bytes]:
    """Post, and give the reply, its content type and its body."""
    headers = {"Content-Type": content_type}
    if encoding:
        headers["Content-Encoding"] = encoding
        body = COMPRESS[encoding](body) if compressed is None else compressed
    async with aiohttp.ClientSession() as session, session.post(url, data=body, headers=headers) as response:
        hint = response.headers.get("Retry-After")
        reply = Reply(response.status, None if hint is None else float(hint))
        return reply, response.content_type, await response.read()
