"""Builds the Zipkin spans of the table `zipkin_spans.csv`, as text: how a number is spelled is part of them."""

from collections.abc import Mapping

Row = Mapping[str, str]
_ENDPOINTS = {
    "empty": "{}",
    "full": '{"serviceName":"Shop","ipv4":"192.0.2.1","port":8080}',
    "ipv6": '{"serviceName":"Shop","ipv6":"2001:db8::c001"}',
    "embedded ipv4": '{"ipv6":"::ffff:192.0.2.7"}',
    "both": '{"ipv4":"192.0.2.2","ipv6":"2001:db8::2","port":"81"}',
    "no address": '{"serviceName":"web","ipv4":"localhost","port":0}',
    "unknown field": '{"serviceName":"Shop","zone":{"a":1.50}}',
}
_VALUES: Mapping[str, Mapping[str, str]] = {
    "kind": {kind: f'"{kind.upper()}"' for kind in ("client", "server", "producer", "consumer")},
    "local": _ENDPOINTS,
    "remote": _ENDPOINTS,
    "annotations": {
        "null": "null",
        "plain": '[{"timestamp":1700000000123456,"value":"ws"},{"timestamp":1700000000123456,"value":""}]',
        "with fields": '[ {"timestamp":1700000000123457,"value":"\\u00e9|{}","host":[1e2]} ]',
        "zero time": '[{"timestamp":0,"value":"never"}]',
    },
    "timestamp": {
        "null": "null",
        "usual": "1700000000123456",
        "zero": "0",
        "text": '"1700000000123456"',
        "float": "1700000000123456.0",
    },
    "duration": {"usual": "207", "zero": "0", "text": '"207"', "float": "2.07e2"},
    "parent": {"null": "null", "child": '"0020000000000001"', "zero": '"0000000000000000"', "itself": '"{id}"'},
    "name": {"usual": '"GET /Api"', "null": "null", "escaped": '"na\\u00efve \\"\\/\\u2603"'},
}
_KEYS = {"local": "localEndpoint", "remote": "remoteEndpoint", "parent": "parentId"}
_TAGS = {
    "plain": '"http.path":"/api","error":""',
    "numbers": '"n":3,"d":0.50',
    "spoofed": '"tracead.anomaly.detected":"true","x.tracead.y":"tracead."',
    "escaped": '"tr\\u0061cead.anomaly.level":"high","caf\\u00e9":"\\u2603"',
}
_UNKNOWN = {
    "scalar": '"unheardOf":true',
    "float": '"unheardOf":[1.50,-0.0,1e3]',
    "large": '"unheardOf":123456789012345678901234567890',
    "nested": '"unheardOf":{"tags":{"tracead.x":[[[[null]]]]}}',
    "tags": '"unheardOf":"\\"tags\\":{"',
}


def span(row: Row, number: int) -> str:
    """Give the span of *row*; *number* makes its ids, and the tag `row` says which it is."""
    span_id = f"{0xCD0000 + number:016x}"
    trace_id = {
        "long": f"{0xAB << 96 | number:032x}",
        "64 bits": f"{0xAB << 32 | number:016x}",
        "short": f"{0xAB00 | number:x}",
        "upper case": f"{0xAB << 96 | number:032X}",
    }[row["trace id"]]
    members = [f'"traceId":"{trace_id}"', f'"id":"{span_id}"']
    for factor, values in _VALUES.items():
        if row[factor] in values:
            members.append(f'"{_KEYS.get(factor, factor)}": {values[row[factor]].replace("{id}", span_id)}')
    if row["flags"] in ("shared", "debug"):
        members.append(f'"{row["flags"]}":true')
    elif row["flags"] == "false":
        members += ['"shared":false', '"debug":null']
    if row["unknown"] in _UNKNOWN:
        members.append(_UNKNOWN[row["unknown"]])
    mark = f'"row":"{number}"'
    if row["tags"] == "twice":  # Zipkin takes both, what parses JSON the last
        members += ['"tags":{"first":"1","tracead.late":"true"}', f'"tags":{{"again":"2",{mark}}}']
    else:
        members.append('"tags": {' + ", ".join(filter(None, (_TAGS.get(row["tags"]), mark))) + "}")
    return "{" + ",".join(members) + "}"
