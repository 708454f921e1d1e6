"""Secrets that can be seen without knowing whose argument they are in: by names, in URLs, by their own looks. Pure.

All of it takes time in proportion to the text, as in ``hiding``.
"""

from __future__ import annotations

import re

from . import secret
from .expressions import expression

HIDDEN = "•••"

KEYED = expression(
    r"(?<![\w.\-])(?P<name>[\w.\-]+)(?P<quote>\\?[\"']\]?)?\s{0,9}(?P<sign>=>|:?=|:(?!//))(?P<space>\s{0,9})"
)
_QUOTED = {
    '"': expression(r'"(?:[^"\\]|\\.)*"?', re.DOTALL),
    "'": expression(r"'[^']*'?"),
    "\\": expression(r"""\\["'](?:[^\\]|\\(?!["']))*(?:\\["'])?"""),
}
#: Up to a separator with another name behind it.
_BARE = expression(r"(?:[^\s\"&;,\\]|\\.|[&;,](?!\s{0,3}[\w.\-\[\]% ]{1,60}=))+", re.DOTALL)
#: What is hidden as a whole: what a command writes, an object, a list.
_WHOLE = {"$(": ")", "{": "}", "[": "]"}
_LINE = expression(r"[^\"'\r\n]+")
_WORD = expression(r"[^\s,}\]\"']+")
_SCHEME = expression(rf"(?:{'|'.join(secret.SCHEMES)})\s+", re.IGNORECASE)
_AUTHORITY = expression(r"://([^\s/?#'\"<>]*)")
_UNTIL_SPACE = expression(r"[^\s'\"<>@]*@")
#: They have digits; names that begin so mostly have none (npm_config_user_agent).
_TOKEN = expression(
    rf"(?<![A-Za-z0-9])(?:{'|'.join(map(re.escape, secret.TOKENS))})(?=[\w\-.]{{0,300}}\d)[\w\-]{{16,}}(?:\.[\w\-]+)*"
)
#: Addresses that let in whoever has them.
_ADDRESS = expression(
    r"(?P<shown>\bhooks\.slack\.com/(?:services|workflows|triggers)/|\bdiscord(?:app)?\.com/api/webhooks/\d+/|/bot\d+:)"
    r"[\w\-/]{16,}"
)
_PRIVATE = expression(
    r"(?P<shown>-----BEGIN (?:[A-Z0-9]{1,20} ){0,3}PRIVATE KEY(?: BLOCK)?-----)(?:[^\-]|-(?!----))+"
    r"(?:-----END [A-Z0-9 ]{1,60}-----)?"
)
_IN_SQL = expression(
    r"(?P<shown>\b(?:identified\s{1,9}(?:with\s{1,9}[\w'\"]{1,64}\s{1,9})?(?:by|as)\s{1,9}"
    r"|set\s{1,9}password\s{1,9}for\s{1,9}\S{1,200}\s{0,9}(?:=|to)\s{0,9}(?:password\s{0,9}\(\s{0,9})?"
    r"|password\s{1,9}|password\s{0,9}\(\s{0,9}))(?:'[^']*'?|\"[^\"]*\"?)",
    re.IGNORECASE,
)
#: A name and its value, each by a name of its own: of a container's variables, of a stack's parameters.
_PAIR = expression(
    r"(?P<shown>(?<!\w)(?:name|key|parameterkey)\\?[\"']?\s{0,3}[:=]\s{0,3}\\?[\"']?(?P<name>[\w.\-]{1,128})"
    r"\\?[\"']?\s{0,3},\s{0,3}\\?[\"']?(?:[\w.\[\]\-]{1,64}\.)?(?:parameter)?value\\?[\"']?\s{0,3}[:=]\s{0,3}\\?)"
    r"(?:(?P<quote>[\"'])[^\"'\\]+|[^\"'\\\s,}\]]+)",
    re.IGNORECASE,
)
_OF_NETRC = expression(
    r"(?P<shown>(?:(?<!\w)|(?<=\\n))login(?:\s|\\n){1,9}[^\s\\]{1,200}(?:\s|\\n){1,9}password(?:\s|\\n){1,9})[^\s\"'\\]+"
)
_OF_REQUESTS = expression(r"(?P<shown>\bauth\s?=\s?\(\s?[\"'][^\"']{0,200}[\"']\s?,\s?[\"'])[^\"']+")
_OF_CONDA = expression(r"(?P<shown>/t/)tk-[\w\-]{8,}")
_OF_QEMU = expression(r"(?P<shown>\bsecret,(?:[\w\-]{1,64}=[^\s,]{0,256},){0,8}data=)[^\s,]+")
_LIKE_A_TOKEN = expression(r"(?=.*\d)[\w\-.~%]{20,}")


def by_text(text: str, cut: bool) -> str:
    """Without users in URLs, values of names, headers, tokens."""
    if "://" in text:
        text = without_users(text, cut)
    done, pieces = 0, []
    for match in KEYED.finditer(text):
        if match.start() < done:
            continue
        value = _value(text, match)
        if value is not None:
            start, end, shown = value
            pieces += [text[done:start], shown]
            done = end
    text = "".join([*pieces, text[done:]])
    for regex in (_ADDRESS, _PRIVATE, _IN_SQL, _OF_NETRC, _OF_REQUESTS, _OF_CONDA, _OF_QEMU):
        text = regex.sub(rf"\g<shown>{HIDDEN}", text)
    text = _PAIR.sub(_hidden_pair, text)
    return _TOKEN.sub(HIDDEN, text)


def _hidden_pair(match: re.Match[str]) -> str:
    is_secret = secret.is_secret_variable(match["name"])
    return f"{match['shown']}{match['quote'] or ''}{HIDDEN}" if is_secret else match[0]


def _value(text: str, match: re.Match[str]) -> tuple[int, int, str] | None:
    """Where the secret stands that a name has, and what is shown for it; None if it has none."""
    name, at = match["name"], match.end()
    is_header = match["sign"] in (":", "=") and name.lower() in secret.HEADERS
    named = secret.is_secret_variable(name) if "=" in match["sign"] else secret.is_secret(name)
    named = named or (text[max(match.start() - 1, 0)] in "?&" and secret.is_signature(name))
    if at >= len(text) or not (is_header or named or (match["sign"] == ":" and name.lower().endswith("-auth"))):
        return None
    first = text[at]
    if first in _QUOTED and (first != "\\" or text[at + 1 : at + 2] in ("'", '"')):
        found = _QUOTED[first].match(text, at)
        assert found is not None
        mark = 2 if first == "\\" else 1
        closes = len(found[0]) > mark and found[0].endswith(found[0][mark - 1])
        return at, found.end(), found[0][:mark] + HIDDEN + (found[0][:mark] if closes else "")
    is_target = match["sign"] == ":" and not (match["space"] or match["quote"])  # or in a namespace: token:x
    whole = next((end for begin, end in _WHOLE.items() if text.startswith(begin, at)), None)
    if whole is not None and not is_target:
        end = text.find(whole, at) + 1 or len(text)
        more = _BARE.match(text, end) if "=" in match["sign"] else None
        return at, end if more is None else more.end(), HIDDEN
    if is_header or (match["sign"] == ":" and "-" in name):
        scheme = _SCHEME.match(text, at)
        at = at if scheme is None else scheme.end()
        found = _LINE.match(text, at)
    else:
        found = (_BARE if match["sign"] != ":" or match["quote"] is None else _WORD).match(text, at)
        if is_target:
            return None
    return None if found is None else (at, found.end(), HIDDEN)


def without_users(text: str, cut: bool) -> str:
    """URLs without the passwords of their users, and without users that are tokens."""
    done, pieces = 0, []
    for match in _AUTHORITY.finditer(text):
        if match.start(1) < done:
            continue
        start, end = match.span(1)
        users, at, _ = match[1].rpartition("@")
        user, colon, password = users.partition(":")
        if not at:
            user, colon, password = match[1].partition(":")
            if not colon or password.isdecimal() or not password:
                continue
            further = _UNTIL_SPACE.match(text, end)  # a password that is not escaped
            if further is not None and "@" not in match[1]:
                password, end = "?", further.end() - 1
            elif not (cut and end == len(text)):
                continue
            else:
                password, at = "?", "@"
        else:
            end = start + len(users)
        is_alone = password in ("", "x-oauth-basic")  # as GitHub takes a token: it is the user
        if is_alone and not (_LIKE_A_TOKEN.fullmatch(user) and user != HIDDEN):
            continue
        pieces += [text[done:start], f"{HIDDEN}{colon}{password}" if is_alone else f"{user}:{HIDDEN}"]
        done = end
    return "".join([*pieces, text[done:]])
