"""The shop that is simulated: the operations and calls of the OpenTelemetry demo, in our own sizes."""

from otel_tracead.generator import shop_services as services
from otel_tracead.generator.topology import (
    Cached,
    Call,
    Internal,
    Operation,
    Parallel,
    Protocol,
    Publish,
    Repeat,
    Service,
    Step,
    Topology,
)

_TRANSIENT = 0.0002  # share of remote calls that fail for no reason, as on any real network


def _http(service: Service, name: str, median_ms: float, *steps: Step, carries: tuple[str, ...] = ()) -> Operation:
    return Operation(
        service=service,
        name=name,
        protocol=Protocol.HTTP,
        median_ms=median_ms,
        steps=steps,
        failure_rate=_TRANSIENT,
        carries=carries,
    )


def _grpc(service: Service, name: str, median_ms: float, *steps: Step, carries: tuple[str, ...] = ()) -> Operation:
    return Operation(
        service=service,
        name=f"oteldemo.{name}",
        protocol=Protocol.GRPC,
        median_ms=median_ms,
        steps=steps,
        failure_rate=_TRANSIENT,
        carries=carries,
    )


def _sql(name: str, text: str, median_ms: float) -> Call:
    verb, _, table = name.partition(" ")
    attributes = (
        ("db.system.name", "postgresql"),
        ("db.namespace", "shop"),
        ("db.operation.name", verb),
        ("db.collection.name", table),
        ("db.query.text", text),
    )
    operation = Operation(
        service=services.POSTGRES,
        name=name,
        protocol=Protocol.DATABASE,
        median_ms=median_ms,
        sigma=0.4,
        attributes=attributes,
    )
    return Call(operation)


def _redis(verb: str, median_ms: float = 0.4) -> Call:
    attributes = (
        ("db.system.name", "redis"),
        ("db.operation.name", verb),
        ("db.namespace", "0"),
        ("db.query.text", f"{verb} ? ?"),
    )
    return Call(
        Operation(
            service=services.VALKEY, name=verb, protocol=Protocol.DATABASE, median_ms=median_ms, attributes=attributes
        )
    )


def _behind_proxy(name: str, *steps: Step, median_ms: float = 3.0, carries: tuple[str, ...] = ()) -> Operation:
    inner = _http(services.FRONTEND, name, median_ms, *steps, carries=carries)
    return _http(services.PROXY, name, 0.3, Call(inner), carries=("client.address", "user_agent.original", "url.path"))


_USER = ("app.user.id", "app.user.guest", "session.id")
_SELECT_PRODUCT = _sql("SELECT products", "SELECT id, name, price FROM products WHERE id = $1", 1.6)
_SELECT_ALL = _sql("SELECT products", "SELECT id, name, price FROM products ORDER BY id", 3.2)

_LIST_PRODUCTS = _grpc(services.CATALOG, "ProductCatalogService/ListProducts", 4.0, _SELECT_ALL)
_GET_PRODUCT = _grpc(
    services.CATALOG,
    "ProductCatalogService/GetProduct",
    2.0,
    Cached(_redis("GET"), (_SELECT_PRODUCT, _redis("SET")), 0.85),
    carries=("app.product.id",),
)
_CURRENCIES = _grpc(services.CURRENCY, "CurrencyService/GetSupportedCurrencies", 2.0)
_CONVERT = _grpc(services.CURRENCY, "CurrencyService/Convert", 2.5)
_ADS = _grpc(services.AD, "AdService/GetAds", 6.0, carries=("app.ads.contextKeys",))
_RECOMMEND = _grpc(
    services.RECOMMENDATION,
    "RecommendationService/ListRecommendations",
    9.0,
    Internal("get_product_list", 1.5, (Call(_LIST_PRODUCTS),)),
    carries=("app.products_recommended.count", "app.filtered_products.list"),
)
_GET_CART = _grpc(services.CART, "CartService/GetCart", 2.5, _redis("HGET"), carries=_USER)
_ADD_ITEM = _grpc(
    services.CART, "CartService/AddItem", 3.5, _redis("HGET"), _redis("HMSET"), _redis("EXPIRE", 0.3), carries=_USER
)
_EMPTY_CART = _grpc(services.CART, "CartService/EmptyCart", 2.5, _redis("HMSET"), _redis("EXPIRE", 0.3), carries=_USER)
_CALCULATE = Internal("calculate-quote", 7.0)
_QUOTE_OPERATION = _http(services.QUOTE, "POST /getquote", 3.0, _CALCULATE)
_GET_QUOTE = _http(services.SHIPPING, "POST /get-quote", 1.5, Call(_QUOTE_OPERATION, retries=1))
_SHIP_ORDER = _http(services.SHIPPING, "POST /ship-order", 8.0, carries=("app.shipping.tracking.id",))
_CHARGE = Operation(
    service=services.PAYMENT,
    name="oteldemo.PaymentService/Charge",
    protocol=Protocol.GRPC,
    median_ms=35.0,
    failure_rate=0.004,
    transient=False,
    carries=("app.payment.amount", "app.loyalty.level"),
)
_CONFIRM = _http(services.EMAIL, "POST /send_order_confirmation", 12.0, Internal("send_email", 14.0))


_TOPIC = (("messaging.destination.name", "orders"), ("messaging.destination.partition.id", "0"))


def _consumer(service: Service, median_ms: float, *steps: Step) -> Operation:
    return Operation(
        service=service,
        name="process orders",
        protocol=Protocol.MESSAGING,
        median_ms=median_ms,
        steps=steps,
        attributes=_TOPIC,
        carries=("messaging.kafka.offset",),
    )


_SEND = Operation(
    service=services.KAFKA,
    name="send orders",
    protocol=Protocol.MESSAGING,
    median_ms=1.5,
    failure_rate=_TRANSIENT,
    attributes=_TOPIC,
)
_ORDERS = Publish(
    Call(_SEND),
    (
        _consumer(
            services.ACCOUNTING,
            3.0,
            _sql("INSERT order", "INSERT INTO order (order_id, total) VALUES ($1, $2)", 2.5),
            _sql("INSERT orderitem", "INSERT INTO orderitem (order_id, product_id, quantity) VALUES ($1, $2, $3)", 2.2),
        ),
        _consumer(services.FRAUD, 12.0, _sql("SELECT order", "SELECT count(*) FROM order WHERE user_id = $1", 3.0)),
    ),
)
_PLACE_ORDER = _grpc(
    services.CHECKOUT,
    "CheckoutService/PlaceOrder",
    4.0,
    Internal(
        "prepareOrderItemsAndShippingQuoteFromCart",
        1.0,
        (
            Call(_GET_CART, retries=1),
            Repeat((Call(_GET_PRODUCT, retries=1), Call(_CONVERT)), 1, 3),
            Call(_GET_QUOTE),
            Call(_CONVERT),
        ),
    ),
    Call(_CHARGE),
    Call(_SHIP_ORDER, retries=1),
    Call(_EMPTY_CART),
    Call(_CONFIRM, critical=False),
    _ORDERS,
    carries=("app.user.id", "app.order.amount", "app.order.items.count"),
)
_PRODUCT_PAGE = Parallel((Call(_RECOMMEND, critical=False), Call(_ADS, critical=False)))


def _health(service: Service) -> Operation:
    return Operation(service=service, name="grpc.health.v1.Health/Check", protocol=Protocol.GRPC, median_ms=0.3)


SHOP = Topology(
    (
        (
            _behind_proxy("GET /", Parallel((Call(_LIST_PRODUCTS), Call(_CURRENCIES), Call(_GET_CART))), carries=_USER),
            16,
        ),
        (_behind_proxy("GET /api/products", Call(_LIST_PRODUCTS), Call(_CONVERT)), 9),
        (
            _behind_proxy(
                "GET /api/products/{productId}",
                Call(_GET_PRODUCT, retries=1),
                Call(_CONVERT),
                _PRODUCT_PAGE,
                carries=_USER,
            ),
            22,
        ),
        (
            _behind_proxy(
                "GET /api/recommendations",
                Call(_RECOMMEND, retries=1),
                Parallel((Repeat((Call(_GET_PRODUCT),), 3, 5),)),
                carries=("app.product.id",),
            ),
            8,
        ),
        (
            _behind_proxy(
                "GET /api/cart",
                Call(_GET_CART),
                Repeat((Call(_GET_PRODUCT, retries=1), Call(_CONVERT)), 0, 4),
                carries=_USER,
            ),
            10,
        ),
        (
            _behind_proxy(
                "POST /api/cart", Call(_GET_PRODUCT), Call(_ADD_ITEM), Call(_GET_CART, probability=0.9), carries=_USER
            ),
            10,
        ),
        (
            _behind_proxy(
                "POST /api/checkout", Call(_PLACE_ORDER), Call(_GET_PRODUCT, retries=1), median_ms=5.0, carries=_USER
            ),
            6,
        ),
        (_behind_proxy("GET /api/data", Call(_ADS)), 5),
        (_behind_proxy("GET /api/currency", Call(_CURRENCIES)), 4),
        (_behind_proxy("GET /api/shipping", Call(_GET_CART), Call(_GET_QUOTE, retries=1), Call(_CONVERT)), 3),
        (_http(services.PROXY, "GET /images/{file}", 0.3, Call(_http(services.IMAGES, "GET /{file}", 0.8))), 5),
        (_http(services.FRONTEND, "GET /healthz", 0.2), 1),
        (_health(services.CHECKOUT), 0.5),
        (_health(services.CART), 0.5),
    ),
)
