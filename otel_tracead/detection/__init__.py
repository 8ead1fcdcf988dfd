"""Floor 2: sequences and an artifact become verdicts; knows no sockets, no YAML."""
