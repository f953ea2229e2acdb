"""api.problems: several errors are one answer."""

from omni_etl.api.problems import invalid, plain, together


def test_problems_of_one_request_go_together() -> None:
    """In order, with the first one's status, and what stands beside them."""
    problem = together([invalid("from", "from is required"), plain(422, "and this")], beside={"links": []})
    assert problem.status == 400
    assert problem.errors == [{"message": "from is required", "param": "from"}, {"message": "and this"}]
    assert problem.beside == {"links": []}
