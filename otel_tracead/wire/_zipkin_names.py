"""The names by which OTLP and Zipkin say the same thing, shared by both directions.

Sources: OpenTelemetry specification, trace/sdk_exporters/zipkin.md and common/mapping-to-non-otlp.md;
opentelemetry-collector-contrib, pkg/translator/zipkin/zipkinv2.
"""

KINDS = {"SERVER": 2, "CLIENT": 3, "PRODUCER": 4, "CONSUMER": 5}
INTERNAL = 1

SPAN_KIND = "span.kind"
TRACE_STATE = "w3c.tracestate"
ERROR = "error"
STATUS_CODE = "otel.status_code"
STATUS_DESCRIPTION = "otel.status_description"
STATUS_CODES = {"OK": 1, "ERROR": 2, "STATUS_CODE_OK": 1, "STATUS_CODE_ERROR": 2}
SCOPE_NAME, SCOPE_VERSION = "otel.scope.name", "otel.scope.version"
LIBRARY_NAME, LIBRARY_VERSION = "otel.library.name", "otel.library.version"
DROPPED_ATTRIBUTES = "otel.dropped_attributes_count"
DROPPED_EVENTS = "otel.dropped_events_count"
DROPPED_LINKS = "otel.dropped_links_count"
LINK = "otlp.link."
MAX_LINKS = 128

SHARED, DEBUG = "zipkin.shared", "zipkin.debug"
START_ABSENT = "otel.zipkin.absentField.startTime"

SERVICE_NAME = "service.name"
SERVICE_NAME_SOURCE = "otlp.service.name.source"
SERVICE_NAME_SOURCES = ("faas.name", "k8s.deployment.name", "process.executable.name")
NO_SERVICE_NAME = "OTLPResourceNoServiceName"

PEER_SERVICE = "peer.service"
HOST_IP, HOST_PORT = "net.host.ip", "net.host.port"
PEER_IP, PEER_PORT = "net.peer.ip", "net.peer.port"
# What newer Collectors write for these.
NEW_PEER_SERVICE = "service.peer.name"
NEW_HOST_IP, NEW_HOST_PORT = "network.local.address", "network.local.port"
NEW_PEER_IP, NEW_PEER_PORT = "network.peer.address", "network.peer.port"
REMOTE_RANKS: tuple[tuple[str, str | None], ...] = (
    (PEER_SERVICE, None),
    ("server.address", None),
    ("net.peer.name", None),
    (NEW_PEER_IP, NEW_PEER_PORT),
    ("server.socket.domain", None),
    ("server.socket.address", "server.socket.port"),
    ("net.sock.peer.name", None),
    ("net.sock.peer.addr", "net.sock.peer.port"),
    ("peer.hostname", None),
    ("peer.address", None),
    ("db.name", None),
)
"""(attribute that names the remote endpoint, attribute of its port), best first."""

RESOURCE_TAGS = frozenset(
    {
        "cloud.account.id",
        "cloud.availability_zone",
        "cloud.platform",
        "cloud.provider",
        "cloud.region",
        "container.id",
        "container.image.name",
        "container.name",
        "container.runtime",
        "deployment.environment",
        "deployment.environment.name",
        "faas.id",
        "faas.instance",
        "faas.max_memory",
        "faas.name",
        "faas.version",
        "host.arch",
        "host.id",
        "host.image.id",
        "host.image.name",
        "host.image.version",
        "host.name",
        "host.type",
        "k8s.cluster.name",
        "k8s.container.name",
        "k8s.cronjob.name",
        "k8s.daemonset.name",
        "k8s.deployment.name",
        "k8s.job.name",
        "k8s.namespace.name",
        "k8s.node.name",
        "k8s.pod.name",
        "k8s.pod.uid",
        "k8s.replicaset.name",
        "k8s.statefulset.name",
        "os.description",
        "os.name",
        "os.type",
        "os.version",
        "process.command",
        "process.command_args",
        "process.command_line",
        "process.executable.name",
        "process.executable.path",
        "process.owner",
        "process.pid",
        "process.runtime.description",
        "process.runtime.name",
        "process.runtime.version",
        "service.instance.id",
        "service.name",
        "service.namespace",
        "service.version",
        "telemetry.auto.version",
        "telemetry.sdk.language",
        "telemetry.sdk.name",
        "telemetry.sdk.version",
    }
)
"""Tags that were resource attributes before some exporter wrote them as tags."""
