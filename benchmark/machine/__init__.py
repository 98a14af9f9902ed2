"""The machine a run is made on: device, process, signals, cache, and which code this is."""
