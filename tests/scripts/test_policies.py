"""scripts/policies.py: the policies in deploy/ are those that the program prints."""

from pathlib import Path

from scripts import policies

IAM = Path(__file__).parent.parent.parent / "deploy" / "iam"


def test_the_files_are_what_the_code_says() -> None:
    """`make docs` was run after the last change of a policy, and no file of a role that is gone lies about."""
    assert {path.name: path.read_text() for path in IAM.iterdir()} == policies.files()


def test_each_queue_stands_there_by_name() -> None:
    """With placeholders for what differs from account to account, and no pattern."""
    text = "".join(policies.files().values())
    assert "arn:aws:sqs:REGION:ACCOUNT:omni-express" in text
    assert "*" not in text
