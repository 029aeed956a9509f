"""Which project a stored page or file is of."""

import pytest

from twisted_pypi.pypi.mount import IndexMount, NamedMount
from unit.test_config import load

INDEXES = load({"index-url": "https://index.example/root/simple/", "extra-index-url": ["http://Other.example:81/x"]})
EXTRA, MAIN = INDEXES.settings.indexes
MOUNT = IndexMount(INDEXES.settings.indexes)


@pytest.mark.parametrize(
    ("index", "key", "name"),
    [
        (MAIN, "https://index.example/root/simple/", "list"),
        (MAIN, "https://index.example/root/simple/flask-sqlalchemy/", "flask-sqlalchemy"),
        (MAIN, "https://index.example/root/pypi/flask/json", "flask"),
        (MAIN, "https://index.example/root/pypi/flask/3.0/json", "flask"),
        (MAIN, "https://index.example/root/integrity/flask/3.0/flask-3.0.tar.gz/provenance", "flask"),
        (EXTRA, "http://other.example:81/x/zope-interface/", "zope-interface"),
        (EXTRA, "http://other.example:81/x/", "list"),
        (MAIN, "https://files.example/aa/bb/Flask_SQLAlchemy-3.0-py3-none-any.whl", "flask-sqlalchemy"),
        (MAIN, "https://files.example/aa/bb/Flask_SQLAlchemy-3.0-py3-none-any.whl.metadata", "flask-sqlalchemy"),
        (MAIN, "https://files.example/zope.interface-6.0.tar.gz", "zope-interface"),
        (MAIN, "https://index.example/root/simple/flask/flask-3.0.tar.gz", "flask"),
        (MAIN, "https://files.example/odd%2Fname", ""),
        (MAIN, "https://union.invalid/simple/", ""),
    ],
)
def test_the_key_tells_the_project(index, key, name):
    assert MOUNT.name_of(index.name, key) == name
    assert MOUNT.name_of("", key) == name


def test_other_mounts_indexes_are_none_of_ours():
    assert MOUNT.name_of("npm", "https://files.example/flask-3.0.tar.gz") == ""
    alone = NamedMount("other", IndexMount((EXTRA,)))
    assert alone.name_of(MAIN.name, "https://index.example/root/simple/flask/") == ""
    assert alone.name_of(EXTRA.name, "http://other.example:81/x/flask/") == "flask"
