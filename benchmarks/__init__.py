"""What a span costs in CPU time, for our stage and for others in the same place, in one run.

sender (gRPC, steady rate) -> system under test -> sink (counts spans), each a process of its own. The system's CPU time
is read from the kernel for the whole process with its threads and children, before and after a measured interval,
and divided by the spans that went through. Every run checks that what was sent was received.
"""
