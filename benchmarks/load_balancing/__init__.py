"""Replicas behind a sender that routes by trace id: what becomes of spans and traces when one of them comes or goes."""
