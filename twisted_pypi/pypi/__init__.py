"""The Python package index as a mount: names, pages, links. Imports floor 0 only."""
