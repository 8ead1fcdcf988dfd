"""The exporters that come with otel-tracead: plug-ins like anybody else's, found by their entry points."""
