"""What each step from the paper to the default detector brings: the default with one step taken back at a time.

Each variant is trained and tried on the same traces; those it is tried on are of a block of time that it did not see.
"""
