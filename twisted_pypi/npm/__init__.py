"""The npm registry as a mount: packuments and tarballs. Pure; imports floor 0 only."""
