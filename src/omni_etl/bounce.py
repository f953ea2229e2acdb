"""Bounce: what a bounce class means. The codes are SparkPost's ("Bounce Classification Codes", support articles).

The category decides which metric an event counts in; an Admin bounce is the sender's own doing and no bounce at all in
`count_bounce`. A class we do not know is Undetermined, as the vendor's own class 1 is.
"""

from __future__ import annotations

from typing import Final, Literal

Category = Literal["undetermined", "hard", "soft", "block", "admin"]

CATEGORIES: Final[tuple[Category, ...]] = ("undetermined", "hard", "soft", "block", "admin")

CLASSES: Final[dict[str, tuple[str, Category]]] = {
    "1": ("Undetermined", "undetermined"),
    "10": ("Invalid Recipient", "hard"),
    "20": ("Soft Bounce", "soft"),
    "21": ("DNS Failure", "soft"),
    "22": ("Mailbox Full", "soft"),
    "23": ("Too Large", "soft"),
    "24": ("Timeout", "soft"),
    "25": ("Admin Failure", "admin"),
    "26": ("Smart Send Suppression", "admin"),
    "30": ("Generic Bounce: No RCPT", "hard"),
    "40": ("Generic Bounce", "soft"),
    "50": ("Mail Block", "block"),
    "51": ("Spam Block", "block"),
    "52": ("Spam Content", "block"),
    "53": ("Prohibited Attachment", "block"),
    "54": ("Relaying Denied", "block"),
    "60": ("Auto-Reply", "soft"),
    "70": ("Transient Failure", "soft"),
    "80": ("Subscribe", "admin"),
    "90": ("Unsubscribe", "hard"),
    "100": ("Challenge-Response", "soft"),
}

CATEGORY_OF: Final[dict[str, Category]] = {code: category for code, (_, category) in CLASSES.items()}


def category(bounce_class: str | None) -> Category:
    """The category of a class; Undetermined where it is absent or unknown."""
    return CATEGORY_OF.get(bounce_class or "", "undetermined")
