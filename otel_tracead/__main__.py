"""`python -m otel_tracead`: the same as the command `otel-tracead`."""

from otel_tracead.cli import main

if __name__ == "__main__":
    main()
