"""What this project claims about cost, measured: CPU time, memory, latency, start, beside others in the same run.

Most of it is one picture: sender -> system under test -> sink, each a process of its own. The system's CPU time is what
the kernel accounts to its process with its threads and children, divided by the spans that went through. Every run
checks that what was sent was received.

`python -m benchmarks` runs the parts one after another, `python -m benchmarks.NAME` one of them, and
`python -m benchmarks.summary` holds what they wrote to docs/results/ against the targets.
"""
