"""Side room: does the detector work? Anomalies of known kinds are injected into copies of normal traces."""
