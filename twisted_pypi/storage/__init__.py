"""Where pages and files are kept: in memory, or on disk beside a catalogue."""
