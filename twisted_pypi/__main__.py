"""`python -m twisted_pypi` is `pypicache`."""

from twisted_pypi.commands import main

if __name__ == "__main__":
    raise SystemExit(main())
