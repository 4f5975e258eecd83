# SPDX-License-Identifier: Apache-2.0
"""Which series and labels a PromQL text names."""
import re

TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'|\[[^\]]*\]|[\w:$.]+|\S')
KEYWORDS = {"and", "or", "unless", "offset", "bool", "atan2", "inf", "nan"}
LISTS = {"by", "without", "on", "ignoring", "group_left", "group_right"}


def selectors(expr):
    """([(series, names of the labels it is selected by)], names in by(), on() and the like) of a text that parses."""
    tokens = TOKEN.findall(expr)
    series, lists, at = [], set(), 0
    while at < len(tokens):
        token, follows = tokens[at], tokens[at + 1] if at + 1 < len(tokens) else ""
        at += 1
        if not token.isidentifier() or token.lower() in KEYWORDS:
            continue
        if token in LISTS:
            end = tokens.index(")", at)
            lists |= set(filter(str.isidentifier, tokens[at:end]))
            at = end
        elif follows == "{":
            end = tokens.index("}", at)
            series.append((token, {n for n, op in zip(tokens[at:end], tokens[at + 1:]) if n.isidentifier() and op in ("=", "!")}))
            at = end
        elif follows not in ("(", "by", "without"):  # a function, an operator over many
            series.append((token, set()))
    return series, lists
