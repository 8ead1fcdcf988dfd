"""Receivers: where spans come in. Each is a package with its configuration, its factory and its work."""
