import grpc
import grpc.aio
import pytest

from otel_tracead.receivers.otlp import FACTORY, OtlpReceiverConfig
from otel_tracead.wire.rpc_status import RpcStatus
from tests.contract.receiver_contract import ReceiverContract, Reply, Running, until
from tests.receivers import samples

METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


class TestOtlpGrpcReceiver(ReceiverContract):
    factory = FACTORY
    transport = "grpc"
    limit = 1 << 20
    encodings = ("gzip",)
    ok = "OK"
    invalid = "INVALID_ARGUMENT"
    too_large = "RESOURCE_EXHAUSTED"
    unknown_encoding = "UNIMPLEMENTED"
    backpressure = "UNAVAILABLE"
    permanent = "INTERNAL"
    transient = "UNAVAILABLE"

    def config(self, endpoint):
        return {"protocols": {"grpc": {"endpoint": endpoint, "max_recv_msg_size_mib": 1}}}

    def default_endpoint(self):
        return OtlpReceiverConfig.model_validate({"protocols": {"grpc": None}}).protocols.grpc.endpoint

    body = staticmethod(samples.otlp)

    async def send(self, port, body, encoding="", compressed=None):
        assert compressed is None
        compression = grpc.Compression.Gzip if encoding == "gzip" else grpc.Compression.NoCompression
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            try:
                response = await channel.unary_unary(METHOD)(body, compression=compression, timeout=10)
            except grpc.aio.AioRpcError as error:
                details = dict(error.trailing_metadata()).get("grpc-status-details-bin")
                status = RpcStatus.decode(details) if details else None
                if status is not None:
                    self.check(status, error.code().value[0])
                return Reply(error.code().name, status.retry_after if status else None)
            assert response == b""
            return Reply("OK")

    @staticmethod
    def check(status: RpcStatus, code: int) -> None:
        assert status.code == code
        assert "/etc" not in status.message

    async def test_a_body_that_is_not_in_its_encoding_is_refused(self, running):
        pytest.skip("gRPC's client compresses by itself; what the server makes of a broken stream is gRPC's")

    async def test_an_unknown_encoding_is_refused(self, running):
        pytest.skip("as above")

    async def test_an_unknown_method_is_unimplemented(self, running: Running) -> None:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{running.port}") as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await channel.unary_unary(METHOD + "All")(b"")
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED

    async def test_a_sender_that_goes_away_does_not_tear_its_request(self, running: Running) -> None:
        running.consumer.gate.clear()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{running.port}") as channel:
            with pytest.raises(grpc.aio.AioRpcError):
                await channel.unary_unary(METHOD)(self.body(2), timeout=0.1)
        running.consumer.gate.set()
        await until(lambda: len(running.consumer.spans) > 0)
        assert len(running.consumer.spans) == 2
