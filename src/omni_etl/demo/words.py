"""What the demo's events are made of: names, replies and places as they stand in the real world's logs.

Odd text is there on purpose (emoji, right to left, combining marks, U+2028, NUL, quotes): whoever splits, escapes or
measures text wrongly on the way shows it here.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Domain(NamedTuple):
    """Where recipients live."""

    name: str
    share: int  # of 1,000 recipients
    routing_domain: str
    provider: str
    region: str


class Reply(NamedTuple):
    """What a receiving server said, and how it is classified (SparkPost bounce classes)."""

    bounce_class: str
    raw_reason: str
    reason: str  # the same with addresses and ids masked

    @property
    def error_code(self) -> str:
        """The reply code in front."""
        return self.raw_reason[:3]


class Reader(NamedTuple):
    """What fetched a pixel or a link."""

    user_agent: str
    family: str
    brand: str
    device: str
    os_family: str
    os_version: str
    mobile: bool
    prefetched: bool


DOMAINS: Final = (
    Domain("gmail.com", 430, "gmail.com", "Gmail", "Global"),
    Domain("yahoo.com", 110, "yahoodns.net", "Yahoo", "Global"),
    Domain("hotmail.com", 80, "outlook.com", "Hotmail / Outlook", "Global"),
    Domain("outlook.com", 60, "outlook.com", "Hotmail / Outlook", "Global"),
    Domain("icloud.com", 60, "mail.icloud.com", "Apple", "Global"),
    Domain("aol.com", 35, "yahoodns.net", "Yahoo", "Global"),
    Domain("comcast.net", 25, "comcast.net", "Comcast", "North America - USA"),
    Domain("gmx.de", 25, "gmx.net", "GMX", "Europe - Germany"),
    Domain("web.de", 20, "web.de", "web.de", "Europe - Germany"),
    Domain("orange.fr", 18, "orange.fr", "Orange", "Europe - France"),
    Domain("libero.it", 14, "libero.it", "Libero", "Europe - Italy"),
    Domain("btinternet.com", 12, "btinternet.com", "BT", "Europe - UK"),
    Domain("naver.com", 10, "naver.com", "Naver", "Asia - Korea"),
    Domain("qq.com", 10, "qq.com", "Tencent", "Asia - China"),
    Domain("b\u00fccher.example", 5, "google.com", "Gsuite", "Global"),
    Domain("\u043f\u043e\u0448\u0442\u0430.example", 3, "mx.example", "Other", "Other"),
)

FIRST_NAMES: Final = (
    "ada", "alan", "barbara", "claude", "donald", "edsger", "frances", "grace", "hedy", "ivan", "jean", "ken", "leslie",
    "margaret", "niklaus", "ole", "peter", "radia", "sophie", "tim", "ursula", "vint", "whitfield", "xia", "yukihiro",
    "Zo\u00eb", "jos\u00e9", "\u0430\u043d\u043d\u0430", "\u5c0f\u660e", "e\u0301lodie", "o'brien", "m\u00fcller",
)  # fmt: skip
LAST_NAMES: Final = (
    "allen", "backus", "cerf", "diffie", "dijkstra", "floyd", "goldberg", "hamilton", "hoare", "hopper", "johnson",
    "kay", "knuth", "lamport", "liskov", "lovelace", "mccarthy", "naur", "perlman", "ritchie", "shannon", "wirth",
)  # fmt: skip

SUBJECTS: Final = (
    "Your order is on its way", "Reset your password", "Receipt for your payment", "Weekly digest: what you missed",
    "Summer deals are here!", "Only today: 20 % off everything", "Your statement is ready", "A new sign-in to your account",
    "\U0001f389 \U0001f468\u200d\U0001f469\u200d\U0001f467 Family weekend \u2013 50\u00a0% off",
    "\u0639\u0631\u0636 \u062e\u0627\u0635 \u0644\u0643\u0645 \u0627\u0644\u064a\u0648\u0645",
    "\u202bright to left\u202c and back", "Cafe\u0301 cre\u0300me, s\u0323\u0307 and Z\u0351\u036balgo",
    "line\u2028separator\u2029paragraph", "nul\x00inside, tab\tand bell\x07", '"quoted", back\\slash and </script>',
    "\u65b0\u5546\u54c1\u306e\u304a\u77e5\u3089\u305b", "\u0421\u043a\u0438\u0434\u043a\u0430 \u0434\u043d\u044f",
    "Re: =?UTF-8?Q?not_decoded?=", "\ufeffBOM first", "",
)  # fmt: skip
CAMPAIGNS: Final = (
    "welcome", "order-confirmation", "password-reset", "receipt", "weekly-digest", "win-back", "black-friday-vip",
    "spring_sale", "cart reminder", "product news", "survey", "black friday", "caf\u00e9 \u2615",
    "\u0645\u062c\u0644\u0629", "\U0001f525 hot deals", "\u5468\u5831", "comma, inside", '50% "off"',
)  # fmt: skip
POOLS: Final = ("marketing", "transactional", "new-customers", "warm-up", "dedicated a")
SEGMENTS: Final = ("new", "loyal", "sleeping", "vip", "b2b", "\u00e9t\u00e9")

LINKS: Final = (
    ("https://shop.example/offers?utm_source=mail&utm_medium=email&id=1", "offers"),
    ("https://shop.example/account/orders/?q=%F0%9F%8E%89", "my orders"),
    ("https://shop.example/\u00fcber-uns", "\u00fcber uns"),
    ("https://shop.example/help#returns", ""),
)
READERS: Final = (
    Reader(
        "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
        "Gmail Image Proxy", "Other", "Other", "Other", "", mobile=False, prefetched=False,
    ),
    Reader(
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
        "Mobile Safari UI/WKWebView", "Apple", "iPhone", "iOS", "18.5", mobile=True, prefetched=False,
    ),
    Reader(
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.0.0 Safari/537.36",
        "Chrome", "Other", "Other", "Windows", "10", mobile=False, prefetched=False,
    ),
    Reader("Mozilla/5.0", "Apple Mail Privacy", "Apple", "Other", "Other", "", mobile=False, prefetched=True),
)  # fmt: skip
PLACES: Final = (
    ("US", "MD", "Columbia", 39.1749, -76.8375, "21046"),
    ("US", "CA", "Mountain View", 37.4043, -122.0748, "94043"),
    ("GB", "ENG", "London", 51.5085, -0.1257, "EC1A"),
    ("DE", "BE", "Berlin", 52.5244, 13.4105, "10115"),
    ("BR", "SP", "S\u00e3o Paulo", -23.5475, -46.6361, "01000"),
    ("JP", "13", "\u6771\u4eac", 35.6895, 139.6917, "100-0001"),
)

HARD_REPLIES: Final = (
    Reply(
        "10",
        "550-5.1.1 The email account that you tried to reach does not exist. Please try\r\n"
        "550-5.1.1 double-checking the recipient's email address for typos or\r\n"
        "550 5.1.1 unnecessary spaces. https://support.google.com/mail/?p=NoSuchUser d2e1a72fcca58 - gsmtp",
        "550-5.1.1 The email account that you tried to reach does not exist. Please try\r\n"
        "550-5.1.1 double-checking the recipient's email address for typos or\r\n"
        "550 5.1.1 unnecessary spaces. https://support.google.com/mail/?p=NoSuchUser ... - gsmtp",
    ),
    Reply(
        "10",
        "550 5.5.0 Requested action not taken: mailbox unavailable (S2017062302). [BN8NAM11FT032.outlook.com]",
        "550 5.5.0 Requested action not taken: mailbox unavailable (...). [...]",
    ),
    Reply(
        "10",
        "552 1 Requested mail action aborted, mailbox not found",
        "552 1 Requested mail action aborted, mailbox not found",
    ),
    Reply(
        "30",
        "550 5.4.1 Recipient address rejected: Access denied. AS(201806281)",
        "550 5.4.1 Recipient address rejected: Access denied. AS(...)",
    ),
    Reply(
        "90",
        "550 5.7.1 recipient has unsubscribed from this list",
        "550 5.7.1 recipient has unsubscribed from this list",
    ),
)
SOFT_REPLIES: Final = (
    Reply("1", "554 Transaction failed", "554 Transaction failed"),
    Reply("20", "550 5.2.1 mailbox temporarily disabled", "550 5.2.1 mailbox temporarily disabled"),
    Reply("21", "554 5.4.4 [internal] Domain Lookup Failed", "554 5.4.4 [internal] Domain Lookup Failed"),
    Reply("22", "552 5.2.2 user over quota\r\n552 Quota exceeded", "552 5.2.2 user over quota\r\n552 Quota exceeded"),
    Reply("23", "552 5.3.4 message size exceeds fixed limit", "552 5.3.4 message size exceeds fixed limit"),
    Reply("40", "550 Administrative prohibition", "550 Administrative prohibition"),
    Reply(
        "50",
        "554 5.7.1 Service unavailable; Client host [192.0.2.17] blocked using zen.spamhaus.org",
        "554 5.7.1 Service unavailable; Client host [a.b.c.d] blocked using zen.spamhaus.org",
    ),
    Reply(
        "51",
        "550 5.7.1 MAIL REFUSED - IP (192.0.2.9) is in black list",
        "550 5.7.1 MAIL REFUSED - IP (a.b.c.d) is in black list",
    ),
    Reply("52", "550 5.7.1 [CS] Message blocked: spam content", "550 5.7.1 [CS] Message blocked: spam content"),
    Reply(
        "53",
        "554 5.7.1 prohibited attachment \u201cinvoice.exe\u201d",
        "554 5.7.1 prohibited attachment \u201cinvoice.exe\u201d",
    ),
    Reply("54", "550 5.7.1 Relaying denied", "550 5.7.1 Relaying denied"),
    Reply("60", "550 out of office: I am away until Monday", "550 out of office: I am away until Monday"),
    Reply("70", "550 5.3.0 try again later", "550 5.3.0 try again later"),
    Reply(
        "100", "550 challenge: please confirm that you are human", "550 challenge: please confirm that you are human"
    ),
)
DELAY_REPLIES: Final = (
    Reply(
        "50",
        "421 4.7.0 [TSS04] Messages from 192.0.2.25 temporarily deferred due to unexpected volume or user complaints",
        "421 4.7.0 [TSS04] Messages from a.b.c.d temporarily deferred due to unexpected volume or user complaints",
    ),
    Reply(
        "20",
        "450-4.2.1 The user you are trying to contact is receiving mail at a rate that\r\n"
        "450 4.2.1 prevents additional messages from being delivered. b13si1234567qtw.42 - gsmtp",
        "450-4.2.1 The user you are trying to contact is receiving mail at a rate that\r\n"
        "450 4.2.1 prevents additional messages from being delivered. ... - gsmtp",
    ),
    Reply("22", "452 4.2.2 mailbox full", "452 4.2.2 mailbox full"),
    Reply("70", "451 4.3.0 greylisted, please come back later", "451 4.3.0 greylisted, please come back later"),
)
TIMEOUT_REPLY: Final = Reply(
    "24",
    "554 5.4.7 [internal] message timeout (last transfail: 451 4.3.0 [192.0.2.8] not now)",
    "554 5.4.7 [internal] message timeout (last transfail: 451 4.3.0 [a.b.c.d] not now)",
)
SUPPRESSED_REPLY: Final = Reply(
    "25",
    "554 5.7.1 [internal] recipient address was suppressed due to customer policy",
    "554 5.7.1 [internal] recipient address was suppressed due to customer policy",
)
POLICY_REPLY: Final = Reply(
    "25",
    "550 5.7.1 Unconfigured Sending Domain <nowhere.example>",
    "550 5.7.1 Unconfigured Sending Domain <nowhere.example>",
)
GENERATION_REPLY: Final = Reply(
    "25",
    "554 5.3.3 [internal] Error while rendering part html: line 4: substitution value 'name' did not exist or was null",
    "554 5.3.3 [internal] Error while rendering part html: line 4: substitution value 'name' did not exist or was null",
)
