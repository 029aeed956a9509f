"""What `interfaces.Store` promises, of every store."""

import gzip
import hashlib

import pytest
import zstandard
from attrs import evolve

from twisted_pypi.model import FileLink
from twisted_pypi.records import PartialOrigin
from twisted_pypi.storage.limits import Limits
from twisted_pypi.storage.memory import MemoryStore
from unit.storage_doubles import KEY, PAGE, Disk, Page, body_of, content, meta, now, put_file, record

LIMITS = Limits(cache_size=1 << 20, max_file_size=1000, min_free=0)


@pytest.fixture(params=["memory", "disk", "disk without hot bodies"])
def store(request, tmp_path):
    if request.param == "memory":
        yield MemoryStore(LIMITS)
        return
    disk = Disk(str(tmp_path), evolve(LIMITS, memory=0 if "without" in request.param else 1 << 20))
    yield disk.start()
    now(disk.store.stop())
    assert [event for event in disk.events if "integrity" in str(event)] == []


# Pages


def test_an_unknown_page(store):
    assert store.pages.hot(PAGE) is None
    assert now(store.pages.get(PAGE)) is None


def test_a_page_is_had_as_it_was_put(store):
    said = meta(etag='"1"', last_modified="then", version=7)
    put = now(store.pages.put(said, Page(), ("json", "html")))
    assert put.meta == said
    assert put.validated_at == said.fetched_at
    assert set(put.representations) == {(b, e) for b in ("json", "html") for e in ("identity", "gzip", "zstd")}
    assert now(store.pages.get(PAGE)) == put
    assert store.pages.hot(PAGE) == put


def test_every_body_in_every_coding(store):
    plain = b'{"files": []}' * 1000
    page = now(store.pages.put(meta(), Page({"json": [plain[:5], plain[5:]]}), ("json",)))
    coded = {encoding: body_of(store, page, "json", encoding) for encoding in ("identity", "gzip", "zstd")}
    assert coded["identity"] == plain
    assert gzip.decompress(coded["gzip"]) == plain
    assert zstandard.ZstdDecompressor().decompressobj().decompress(coded["zstd"]) == plain
    for (_, encoding), made in page.representations.items():
        assert (made.length, made.digest) == (len(coded[encoding]), hashlib.sha256(coded[encoding]).hexdigest())


def test_a_template_is_kept_as_it_is_alone(store):
    page = now(store.pages.put(meta(), Page(), ("json", "html"), {"json"}))
    assert {encoding for body, encoding in page.representations if body == "json"} == {"identity"}
    assert {encoding for body, encoding in page.representations if body == "html"} == {"identity", "gzip", "zstd"}
    assert body_of(store, page) == b"".join(Page().render("json"))
    assert now(store.pages.get(PAGE)) == page


def test_an_empty_body(store):
    page = now(store.pages.put(meta(), Page({"json": []}), ("json",)))
    assert body_of(store, page) == b""


def test_a_page_that_cannot_be_rendered_leaves_the_old_one(store):
    old = now(store.pages.put(meta(), Page(), ("json",)))
    with pytest.raises(KeyError):
        now(store.pages.put(meta(), Page({"json": KeyError("broken")}), ("json",)))
    assert now(store.pages.get(PAGE)) == old
    assert body_of(store, old) == b"{}"
    assert store.usage()[0] == 1


def test_a_new_page_takes_the_place_of_the_old_one(store):
    old = now(store.pages.put(meta(version=1), Page({"json": [b"old"]}), ("json",)))
    new = now(store.pages.put(meta(version=2), Page({"json": [b"new"]}), ("json",)))
    assert old.inode != new.inode
    assert now(store.pages.get(PAGE)) == new
    assert body_of(store, new) == b"new"
    with pytest.raises(LookupError):
        body_of(store, old)
    assert now(store.pages.get(PAGE)) == new
    assert store.usage()[0] == 1


def test_confirming(store):
    page = now(store.pages.put(meta(), Page(), ("json",)))
    confirmed = now(store.pages.confirm(page, 1_700_000_100.25))
    assert confirmed == evolve(page, validated_at=1_700_000_100.25)
    assert now(store.pages.get(PAGE)) == confirmed
    assert body_of(store, confirmed) == b"{}"


def test_confirming_what_was_replaced_does_not_touch_the_new_page(store):
    old = now(store.pages.put(meta(version=1), Page(), ("json",)))
    new = now(store.pages.put(meta(version=2), Page(), ("json",)))
    assert now(store.pages.confirm(old, 1.0)) == evolve(old, validated_at=1.0)
    assert now(store.pages.get(PAGE)) == new


def test_confirming_what_has_gone(store):
    page = now(store.pages.put(meta(), Page(), ("json",)))
    now(store.pages.delete(PAGE))
    assert now(store.pages.confirm(page, 1.0)) == evolve(page, validated_at=1.0)
    assert now(store.pages.get(PAGE)) is None


def test_an_expired_page_stays(store):
    page = now(store.pages.put(meta(), Page(), ("json",)))
    now(store.pages.expire(PAGE))
    now(store.pages.expire("https://index.example/simple/unknown/"))
    assert now(store.pages.get(PAGE)) == evolve(page, validated_at=0.0)
    assert body_of(store, page) == b"{}"
    now(store.pages.expire(PAGE, 5.0))
    assert now(store.pages.get(PAGE)) == evolve(page, validated_at=5.0)


def test_a_deleted_page_has_gone(store):
    page = now(store.pages.put(meta(), Page(), ("json", "html")))
    now(store.pages.delete(PAGE))
    now(store.pages.delete(PAGE))
    assert store.pages.hot(PAGE) is None
    assert now(store.pages.get(PAGE)) is None
    with pytest.raises(LookupError):
        body_of(store, page, "html")
    assert store.usage() == (0, 0)


# Files


def test_an_unknown_file(store):
    assert store.files.hot(KEY) is None
    assert now(store.files.get(KEY)) is None
    assert now(store.files.held([KEY])) == set()
    with pytest.raises(LookupError):
        now(store.files.open(record(b"x")))


def test_a_file_is_had_as_it_was_published(store):
    file = put_file(store, b"wheel", etag='"1"', last_modified="then", hashes={"md5": "00"}, verified=False)
    assert now(store.files.get(KEY)) == file
    assert store.files.hot(KEY) == file
    assert content(store, file) == b"wheel"
    assert now(store.files.held([KEY, PAGE])) == {KEY}
    assert store.usage() == (1, 5)


def test_an_empty_file(store):
    assert content(store, put_file(store, b"")) == b""


def test_a_source_knows_its_length_and_reads_anywhere(store):
    source = now(store.files.open(put_file(store, b"0123456789")))
    assert (source.length, source.finished, source.failure) == (10, True, None)
    assert source.read(7, 2) == b"78"
    assert source.read(2, 100) == b"23456789"
    assert source.read(10, 1) == b""
    source.close()
    source.close()


def test_a_partial_file(store):
    partial = now(store.files.begin(KEY, None, ["md5", "blake2b-256", "unheard-of"]))
    read = partial.reader()
    assert (partial.size, read(0, 10)) == (0, b"")
    now(partial.write(b"abc"))
    now(partial.write(b"def"))
    assert partial.size == 6
    assert read(2, 3) == b"cde"
    assert partial.hexdigest("sha256") == hashlib.sha256(b"abcdef").hexdigest()
    assert partial.hexdigest("md5") == hashlib.md5(b"abcdef").hexdigest()
    assert partial.hexdigest("blake2b-256") == hashlib.blake2b(b"abcdef", digest_size=32).hexdigest()
    for unknown in ("sha512", "unheard-of"):
        with pytest.raises(ValueError, match=unknown):
            partial.hexdigest(unknown)
    assert now(store.files.get(KEY)) is None
    now(partial.publish(record(b"abcdef")))
    assert read(0, 10) == b"abcdef"
    assert content(store, record(b"abcdef")) == b"abcdef"


def test_an_abandoned_file_leaves_nothing_but_its_readers(store):
    partial = now(store.files.begin(KEY, 3, ()))
    now(partial.write(b"abc"))
    read = partial.reader()
    now(partial.abandon())
    now(partial.abandon())
    assert read(0, 10) == b"abc"
    assert now(store.files.get(KEY)) is None
    assert store.usage() == (0, 0)


@pytest.mark.parametrize("end", ["publish", "abandon"])
def test_after_its_end_a_partial_file_takes_nothing(store, end):
    partial = now(store.files.begin(KEY, 3, ()))
    now(partial.publish(record(b"")) if end == "publish" else partial.abandon())
    for work in (partial.write(b"x"), partial.publish(record(b""))):
        with pytest.raises(RuntimeError):
            now(work)
    with pytest.raises(RuntimeError):
        partial.reader()


@pytest.mark.parametrize("wrong", [{"size": 4}, {"sha256": "0" * 64}, {"key": KEY + "x"}])
def test_only_what_was_written_is_published(store, wrong):
    partial = now(store.files.begin(KEY, 3, ()))
    now(partial.write(b"abc"))
    with pytest.raises(ValueError, match="not what was written"):
        now(partial.publish(evolve(record(b"abc"), **wrong)))
    assert now(store.files.get(KEY)) is None
    now(partial.abandon())


def test_two_at_once_on_one_key(store):
    one, two = (now(store.files.begin(KEY, 3, ())) for _ in range(2))
    now(one.write(b"one"))
    now(two.write(b"two"))
    now(two.publish(record(b"two")))
    reading = now(store.files.open(record(b"two")))
    now(one.publish(record(b"one")))
    assert reading.read(0, 9) == b"two"
    reading.close()
    assert content(store, record(b"one")) == b"one"
    with pytest.raises(LookupError):
        content(store, record(b"two"))
    assert store.usage() == (1, 3)


ORIGIN = PartialOrigin("main", '"1"', 10, {"sha256": hashlib.sha256(b"0123456789").hexdigest()})


def kept(store, data=b"01234", origin=ORIGIN, key=KEY):
    """Break off in the middle."""
    partial = now(store.files.begin(key, 10, ("sha256",), origin))
    if data:
        now(partial.write(data))
    now(partial.keep())
    now(partial.keep())
    now(partial.abandon())


def test_what_broke_off_is_gone_on_with(store):
    kept(store)
    assert (now(store.files.get(KEY)), store.usage()) == (None, (0, 0))
    partial = now(store.files.resume(KEY, ("md5",)))
    assert now(store.files.resume(KEY, ())) is None
    assert (partial.size, partial.origin, partial.reader()(0, 99)) == (5, ORIGIN, b"01234")
    now(partial.write(b"56789"))
    assert partial.hexdigest("md5") == hashlib.md5(b"0123456789").hexdigest()
    now(partial.publish(record(b"0123456789")))
    assert content(store, record(b"0123456789")) == b"0123456789"
    assert now(store.files.resume(KEY, ())) is None


def test_what_broke_off_again_is_kept_again(store):
    kept(store)
    partial = now(store.files.resume(KEY, ()))
    now(partial.write(b"56"))
    now(partial.keep())
    assert now(store.files.resume(KEY, ())).size == 7


def test_of_a_whole_one_the_last_byte_is_asked_for_again(store):
    kept(store, b"0123456789")
    partial = now(store.files.resume(KEY, ()))
    now(partial.write(b"9"))
    assert partial.hexdigest("sha256") == hashlib.sha256(b"0123456789").hexdigest()


@pytest.mark.parametrize("case", [{"data": b""}, {"origin": None}])
def test_what_is_not_worth_it_is_not_kept(store, case):
    kept(store, **case)
    assert now(store.files.resume(KEY, ())) is None


def test_a_reader_goes_on_when_the_writing_breaks_off(store):
    partial = now(store.files.begin(KEY, 10, (), ORIGIN))
    now(partial.write(b"01234"))
    read = partial.reader()
    now(partial.keep())
    assert read(0, 9) == b"01234"


def test_digests_go_on_over_what_is_not_stored(store):
    partial = now(store.files.begin(KEY, 10, (), ORIGIN))
    now(partial.write(b"01234"))
    now(partial.digest(b"56789"))
    assert (partial.size, partial.hexdigest("sha256")) == (5, ORIGIN.hashes["sha256"])
    with pytest.raises(ValueError, match="not what was written"):
        now(partial.publish(evolve(record(b"0123456789"), size=5)))
    now(partial.keep())
    assert now(store.files.resume(KEY, ())) is None


def test_the_last_that_broke_off_counts_and_a_deleted_file_has_none(store):
    kept(store)
    kept(store, b"012")
    assert now(store.files.resume(KEY, ())).size == 3
    kept(store)
    now(store.files.delete(KEY))
    assert now(store.files.resume(KEY, ())) is None


def test_what_may_not_be_stored_is_not_begun(store):
    assert now(store.files.begin(KEY, 1001, ())) is None


def test_what_grows_too_large_is_refused(store):
    partial = now(store.files.begin(KEY, None, ()))
    now(partial.write(b"x" * 1000))
    with pytest.raises(OSError, match="larger"):
        now(partial.write(b"x"))
    now(partial.abandon())


def test_files_are_dropped_together(store):
    keys = [f"https://files.example/packages/a-{number}.whl" for number in range(3)]
    first, *_ = (put_file(store, b"x" * (number + 1), key=key) for number, key in enumerate(keys))
    reader = now(store.files.open(first))
    assert now(store.files.drop([*keys[:2], "https://files.example/none.whl"])) == {keys[0]: 1, keys[1]: 2}
    assert now(store.files.held(keys)) == {keys[2]}
    assert now(store.files.get(keys[0])) is None
    assert reader.read(0, 10) == b"x"
    reader.close()
    assert now(store.files.drop(keys[:1])) == now(store.files.drop([])) == {}


def test_a_deleted_file_has_gone_but_for_its_readers(store):
    file = put_file(store)
    source = now(store.files.open(file))
    now(store.files.delete(KEY))
    now(store.files.delete(KEY))
    assert source.read(0, 9) == b"wheel"
    source.close()
    assert now(store.files.get(KEY)) is None
    with pytest.raises(LookupError):
        now(store.files.open(file))
    assert store.usage() == (0, 0)


def test_a_file_is_confirmed_by_a_digest(store):
    file = put_file(store, verified=False)
    hashes = {"md5": hashlib.md5(b"wheel").hexdigest(), "unheard-of": "1"}
    confirmed = now(store.files.confirm(file, hashes))
    assert confirmed == evolve(file, verified=True, hashes=hashes)
    assert now(store.files.get(KEY)) == confirmed


def test_what_is_not_as_announced_is_dropped(tmp_path):
    for store in (MemoryStore(LIMITS), Disk(str(tmp_path), LIMITS).start()):
        file = put_file(store, verified=False)
        assert now(store.files.confirm(file, {"sha256": "0" * 64})) is None
        assert now(store.files.get(KEY)) is None
        now(store.stop())


def test_nothing_is_told_without_a_known_algorithm(store):
    file = put_file(store, verified=False)
    assert now(store.files.confirm(file, {"unheard-of": "1"})) is None
    assert now(store.files.get(KEY)) == file
    assert now(store.files.confirm(record(b"x", KEY + "x"), {"md5": "1"})) is None


def test_a_page_and_a_file_of_one_key(store):
    page = now(store.pages.put(meta(KEY), Page(), ("json",)))
    file = put_file(store)
    assert store.usage()[0] == 2
    now(store.files.delete(KEY))
    assert body_of(store, page) == b"{}"
    assert now(store.files.get(KEY)) != file


# Facts


def test_nothing_was_said(store):
    assert now(store.facts.links(KEY)) == ()
    assert now(store.facts.owner("flask")) is None


def test_a_page_speaks_of_files_and_is_remembered(store):
    plain = FileLink(KEY)
    full = FileLink(KEY + "?sig=1", {"sha256": "ab", "md5": "cd"}, 12, {"sha256": "ef"})
    bare = FileLink(KEY + ".asc", metadata={})
    unusable = FileLink("https://files.example/../x")
    assert now(store.facts.links(KEY)) == ()
    now(store.pages.put(meta(index="b"), Page(named=[full, bare, unusable]), ("json",)))
    now(store.pages.put(meta(PAGE + "x/", index="a"), Page(named=[plain]), ("json",)))
    said = now(store.facts.links(KEY))
    assert [(each.index, each.link) for each in said] == [("a", plain), ("b", full)]
    assert now(store.facts.links(KEY + ".asc"))[0].link == bare
    now(store.pages.delete(PAGE))
    assert now(store.facts.links(KEY)) == said


def test_what_was_said_last_counts(store):
    for size in (1, 2):
        now(store.pages.put(meta(), Page(named=[FileLink(KEY, {}, size)]), ("json",)))
        assert [each.link.size for each in now(store.facts.links(KEY))] == [size]
    now(store.facts.record_link("main", FileLink(KEY, {"md5": "0"})))
    now(store.facts.record_link("main", FileLink("https://files.example/..")))
    assert [each.link for each in now(store.facts.links(KEY))] == [FileLink(KEY, {"md5": "0"})]


def test_marks(store):
    assert now(store.facts.marks("kind", "a")) == {}
    now(store.facts.mark("kind", "a", "one", 5.0))
    now(store.facts.mark("kind", "a", "one", 7.5))
    now(store.facts.mark("kind", "a", "two", float("inf")))
    now(store.facts.mark("other", "a", "three", 1.0))
    assert now(store.facts.marks("kind", "a")) == {"one": 7.5, "two": float("inf")}
    now(store.facts.unmark("kind", ["a", "b"]))
    assert now(store.facts.marks("kind", "a")) == {}
    assert now(store.facts.marks("other", "a")) == {"three": 1.0}


def test_owners(store):
    now(store.facts.set_owner("flask", "a"))
    now(store.facts.set_owner("flask", "b"))
    assert now(store.facts.owner("flask")) == "b"
    now(store.facts.forget_owner("flask"))
    now(store.facts.forget_owner("flask"))
    assert now(store.facts.owner("flask")) is None


# At hand


def at_hand(store, file):
    body = store.files.hot_body(file)
    if body is None or isinstance(body, bytes):
        return body
    try:
        return body.read(0, 1 << 20)
    finally:
        body.close()


def test_a_files_bytes_are_at_hand_while_it_is_there(store):
    put_file(store, b"wheel")
    file = store.files.hot(KEY)
    assert store.files.hot(KEY) is file
    assert at_hand(store, file) == b"wheel"
    assert store.files.unchanged(file)
    put_file(store, b"other")
    assert at_hand(store, file) is None
    assert not store.files.unchanged(file)
    other = store.files.hot(KEY)
    assert at_hand(store, other) == b"other"
    now(store.files.delete(KEY))
    assert at_hand(store, other) is None
    assert not store.files.unchanged(other)


def test_facts_that_were_asked_for_are_at_hand(store):
    link = FileLink(KEY, {"sha256": "ab"})
    now(store.facts.record_link("main", link))
    links = now(store.facts.links(KEY))
    assert store.facts.hot_links(KEY) == links
    now(store.facts.record_link("other", link))
    assert store.facts.hot_links(KEY) != links
    now(store.facts.mark("first", KEY, "ab", 1.0))
    marks = now(store.facts.marks("first", KEY))
    assert store.facts.hot_marks("first", KEY) == marks
    now(store.facts.unmark("first", [KEY]))
    assert not store.facts.hot_marks("first", KEY)
