"""keys: secrets that nobody guesses, and what is kept of them. The contract's suite is in `contracts/`."""

from omni_etl.keys import MARK, digest, new_secret


def test_secrets_are_long_marked_and_never_the_same() -> None:
    """256 random bits behind a mark that scanners find; they fit into a header as they are."""
    secrets = {new_secret() for _ in range(100)}
    assert len(secrets) == 100
    assert all(each.startswith(MARK) and len(each) >= len(MARK) + 43 for each in secrets)
    assert all(each.isascii() and not set(each) & set(': "\\\n') for each in secrets)


def test_a_digest_tells_secrets_apart_and_holds_none() -> None:
    """The same for the same secret in every process, and not the secret."""
    secret = new_secret()
    assert digest(secret) == digest(secret) != digest(secret + "x")
    assert len(digest(secret)) == 32
    assert secret.encode() not in digest(secret)
