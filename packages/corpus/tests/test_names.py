from bunbuku_corpus.names import Names


def test_no_id_is_given_twice_however_many_there_are():
    names, ids = Names(recent=8), [f"id {n}" for n in range(3000)]
    assert all(map(names.claim, ids))
    assert not any(map(names.claim, ids))
    assert names.claim("another") and not names.claim("another")


def test_an_id_takes_eight_bytes():
    names = Names(recent=64)
    for n in range(64 * 100):
        names.claim(str(n))
    assert names.bytes_held == 8 * 64 * 100
