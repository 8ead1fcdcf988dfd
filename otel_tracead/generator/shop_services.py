"""The services of the simulated shop, in the shape of the OpenTelemetry demo."""

from otel_tracead.generator.topology import Service

PROXY = Service(name="frontend-proxy", language="cpp", scope="envoy", scope_version="1.34.1", workers=96)
FRONTEND = Service(
    name="frontend",
    language="nodejs",
    scope="@opentelemetry/instrumentation-http",
    scope_version="0.203.0",
    instances=2,
    workers=4,
)
IMAGES = Service(name="image-provider", language="cpp", scope="ngx_otel_module", scope_version="1.28.0", port=8081)
CATALOG = Service(name="product-catalog", instances=2, workers=2, port=3550)
RECOMMENDATION = Service(
    name="recommendation",
    language="python",
    scope="opentelemetry.instrumentation.grpc",
    scope_version="0.57b0",
    workers=2,
)
AD = Service(
    name="ad", language="java", scope="io.opentelemetry.grpc-1.6", scope_version="2.20.1", workers=1, port=9555
)
CART = Service(
    name="cart", language="dotnet", scope="Microsoft.AspNetCore", scope_version="9.0.8", instances=2, workers=1
)
CHECKOUT = Service(name="checkout", instances=2, workers=4, port=5050)
CURRENCY = Service(name="currency", language="cpp", scope="currency", scope_version="2.1.3", workers=1, port=7001)
SHIPPING = Service(name="shipping", language="rust", scope="actix-web-opentelemetry", scope_version="0.22.0", workers=2)
QUOTE = Service(
    name="quote", language="php", scope="io.opentelemetry.contrib.php.slim", scope_version="1.1.1", workers=1
)
PAYMENT = Service(
    name="payment", language="nodejs", scope="@opentelemetry/instrumentation-grpc", scope_version="0.203.0", workers=1
)
EMAIL = Service(
    name="email", language="ruby", scope="OpenTelemetry::Instrumentation::Sinatra", scope_version="0.26.0", workers=1
)
ACCOUNTING = Service(
    name="accounting", language="dotnet", scope="Accounting.Consumer", scope_version="2.1.3", workers=2
)
FRAUD = Service(
    name="fraud-detection",
    language="java",
    scope="io.opentelemetry.kafka-clients-0.11",
    scope_version="2.20.1",
    workers=2,
)
POSTGRES = Service(name="postgresql", port=5432, workers=4, traced=False)
VALKEY = Service(name="valkey-cart", port=6379, workers=1, traced=False)
KAFKA = Service(name="kafka", port=9092, workers=8, traced=False)
