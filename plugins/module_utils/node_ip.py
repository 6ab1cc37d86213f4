# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans where the kubelet's ``--node-ip`` goes, without touching the machine.

kubeadm writes the kubelet's flags as one shell-like variable into a file that the kubelet's systemd unit names as
``EnvironmentFile=``. What counts is therefore how *systemd* reads it, in two steps:

1. the file into assignments (``parse_env_file_internal`` in systemd's ``src/basic/env-file.c``, systemd.exec(5)
   "EnvironmentFile="): comments, quoted, unquoted and continued values, the last assignment of a name wins;
2. the value into arguments (``extract_first_word`` in ``src/basic/extract-word.c``, systemd.service(5) "Command
   lines"): split at white space, with quotes and backslashes of its own.

Both steps keep, for every character, where it stands in the file, so that an edit touches the bytes of the flag alone.
Every plan is read back by the same parser before it is handed out.

``text`` is always the whole file, offsets count characters of it. Whatever cannot be read raises
:class:`~ansible_collections.netops.cni_migration.plugins.module_utils.host.HostError`.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Sequence
from dataclasses import dataclass

from ansible_collections.netops.cni_migration.plugins.module_utils.host import HostError

VARIABLE = "KUBELET_KUBEADM_ARGS"
FLAG = "--node-ip"

_NEWLINE = "\n\r"
_WHITESPACE = " \t\n\r"
_QUOTES = "\"'"
_UNESCAPED_IN_DOUBLE_QUOTES = '"\\`$'


@dataclass(frozen=True)
class LocalAddress:
    """An IPv4 address of this host that a kubelet would accept as its node IP."""

    interface: str
    address: str


@dataclass(frozen=True)
class Char:
    """One character of a value as systemd decodes it, and the part ``text[start:end]`` it was decoded from."""

    value: str
    start: int
    end: int


@dataclass(frozen=True)
class Assignment:
    """One ``NAME=value`` of the file; ``inside`` is where text can be put into a value that has no characters."""

    name: str
    chars: tuple[Char, ...]
    inside: int

    @property
    def value(self) -> str:
        """The value without its outer quotes and escapes."""
        return "".join(char.value for char in self.chars)


@dataclass(frozen=True)
class Word:
    """One argument, and the part ``text[start:end]`` of the file it was read from, its own quotes included."""

    text: str
    start: int
    end: int


@dataclass(frozen=True)
class NodeIpFlag:
    """One ``--node-ip`` among arguments: ``words[first:after]`` are the flag and, if separate, its value."""

    value: str
    first: int
    after: int


@dataclass(frozen=True)
class Plan:
    """What the file is to be.

    ``text`` is the whole new file, ``wanted`` the one value of ``--node-ip`` in it, ``previous`` the values that
    stood there before, in order ('' for a flag without value).
    """

    text: str
    wanted: str
    previous: tuple[str, ...]


# -- which address ------------------------------------------------------------------------------------------------


def parse_addresses(output: str) -> list[LocalAddress]:
    """The usable IPv4 addresses in the output of ``ip -j -4 addr show``, in its order.

    Usable is what the kubelet accepts and what will stay: scope global, not link-local by number, not deprecated (on
    its way out). Secondary addresses count: a virtual IP of keepalived looks exactly like a wanted second address.
    """
    try:
        links = json.loads(output or "[]")
        return [
            LocalAddress(link["ifname"], entry["local"])
            # Before iproute2 5.x a link that the family filter leaves out appears as an empty object.
            for link in links
            for entry in link.get("addr_info", [])
            if entry["family"] == "inet"
            and entry["scope"] == "global"
            and not entry.get("deprecated", False)
            and not ipaddress.IPv4Address(entry["local"]).is_link_local
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise HostError(f"cannot read the output of ip -j -4 addr show ({type(exc).__name__}: {exc})", stdout=output) from exc


def choose_address(addresses: Sequence[LocalAddress], *, interface: str | None = None, subnet: str | None = None, address: str | None = None) -> str:
    """The one address that is on ``interface``, inside ``subnet``, or is ``address``; exactly one of the three is given.

    Raises :class:`HostError` naming the candidates when there is none or more than one.
    """
    if interface is not None:
        criterion = f"on interface {interface}"
        matching = [local for local in addresses if local.interface == interface]
    elif subnet is not None:
        network = _parse_network(subnet)
        criterion = f"inside {network}"
        matching = [local for local in addresses if ipaddress.IPv4Address(local.address) in network]
    else:
        criterion = f"equal to {address}"
        wanted = _parse_ipv4(address or "")
        matching = [local for local in addresses if ipaddress.IPv4Address(local.address) == wanted]

    found = sorted({local.address for local in matching}, key=ipaddress.IPv4Address)
    if len(found) == 1:
        return found[0]
    if found:
        raise HostError(f"several global IPv4 addresses {criterion}: {_listed(matching)}; name the one to use with subnet or address")
    raise HostError(f"no global IPv4 address {criterion}; this host has: {_listed(addresses) or 'none'}")


def _parse_network(subnet: str) -> ipaddress.IPv4Network:
    try:
        return ipaddress.IPv4Network(subnet)
    except ValueError as exc:
        raise HostError(f"subnet must be an IPv4 network such as 192.168.10.0/24: {exc}") from exc


def _parse_ipv4(address: str) -> ipaddress.IPv4Address:
    try:
        return ipaddress.IPv4Address(address)
    except ValueError as exc:
        raise HostError(f"address must be an IPv4 address such as 192.168.10.100: {exc}") from exc


def _listed(addresses: Sequence[LocalAddress]) -> str:
    return ", ".join(f"{local.address} ({local.interface})" for local in addresses)


# -- reading the file ---------------------------------------------------------------------------------------------


def parse_assignments(text: str) -> list[Assignment]:
    """Every assignment of an environment file in its order, read as systemd reads it.

    Lines without ``=`` are ignored, as systemd does. Raises :class:`HostError` where systemd itself would guess: an
    unclosed quote, a NUL, or a comment that ends in a backslash (it swallows the next line before systemd 254 only).
    """
    if "\0" in text:
        raise HostError("the file holds a NUL character, so it is no environment file")
    assignments = []
    position = 0
    while position < len(text):
        if text[position] in _WHITESPACE:
            position += 1
        elif text[position] in "#;":
            position = _comment_end(text, position)
        else:
            end = _line_end(text, position)
            # The first character of a name is taken as it is, even when it is an equals sign.
            equals = text.find("=", position + 1, end)
            if equals < 0:
                position = end
                continue
            name = text[position:equals].rstrip(_WHITESPACE)
            chars, position = _parse_value(text, equals + 1)
            assignments.append(Assignment(name, chars, _inside(text, equals + 1)))
    return assignments


def _line_end(text: str, position: int) -> int:
    while position < len(text) and text[position] not in _NEWLINE:
        position += 1
    return position


def _line_number(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def _comment_end(text: str, position: int) -> int:
    while position < len(text) and text[position] not in _NEWLINE:
        if text[position] == "\\":
            position += 1
            if position < len(text) and text[position] in _NEWLINE:
                line = _line_number(text, position)
                raise HostError(f"line {line} is a comment that ends in a backslash, and versions of systemd disagree on what that means; remove the backslash")
        position += 1
    return position


def _inside(text: str, position: int) -> int:
    """Where an argument can be put into the empty value that starts at ``position``: inside its quotes, if it has any."""
    first = position
    while first < len(text) and text[first] in " \t":
        first += 1
    return first + 1 if first < len(text) and text[first] in _QUOTES else position


def _parse_value(text: str, position: int) -> tuple[tuple[Char, ...], int]:
    """The decoded value that starts at ``position``, and the offset just after it.

    Quoted and unquoted parts may follow each other; a quote inside an unquoted part is an ordinary character.
    """
    chars: list[Char] = []
    started = position
    quote = ""
    unquoted = False
    while position < len(text):
        char, following = text[position], text[position + 1 : position + 2]
        taken = 1
        if quote and char == quote:
            quote = ""
        elif char == "\\" and quote == '"':
            taken = 2
            if following in _UNESCAPED_IN_DOUBLE_QUOTES:
                chars.append(Char(following, position, position + 2))
            elif following != "\n":
                chars += [Char(char, position, position + 1), Char(following, position + 1, position + 2)]
        elif quote:
            chars.append(Char(char, position, position + 1))
        elif char in _NEWLINE:
            break
        elif char == "\\":
            taken = 2
            unquoted = True
            if following not in _NEWLINE:
                chars.append(Char(following, position, position + 2))
        elif not unquoted and char in _QUOTES:
            quote = char
        elif unquoted or char not in _WHITESPACE:
            unquoted = True
            chars.append(Char(char, position, position + 1))
        position += taken
    if quote:
        raise HostError(f"the value that starts on line {_line_number(text, started)} has a {quote} that is never closed")
    return tuple(chars), min(position, len(text))


def split_words(chars: Sequence[Char]) -> list[Word]:
    """The arguments in a decoded value, as systemd passes them to the kubelet."""
    words: list[Word] = []
    text: str | None = None
    start = end = 0
    quote = ""
    escaped = False
    for char in chars:
        if text is None:
            if char.value in _WHITESPACE:
                continue
            text, start = "", char.start
        if escaped:
            text += char.value
            escaped = False
        elif char.value == "\\":
            escaped = True
        elif quote:
            if char.value == quote:
                quote = ""
            else:
                text += char.value
        elif char.value in _QUOTES:
            quote = char.value
        elif char.value in _WHITESPACE:
            words.append(Word(text, start, end))
            text = None
            continue
        else:
            text += char.value
        end = char.end
    if quote or escaped:
        raise HostError(f"{VARIABLE} ends inside {f'a {quote} that is never closed' if quote else 'a backslash escape'}")
    if text is not None:
        words.append(Word(text, start, end))
    return words


# -- the flag among the arguments ---------------------------------------------------------------------------------


def find_node_ip(arguments: Sequence[str]) -> list[NodeIpFlag]:
    """Every ``--node-ip`` among ``arguments``, ``=`` or space before its value. The kubelet obeys the last.

    The kubelet takes ``_`` in a flag's name for ``-``. A flag that is followed by another flag has no value: the
    kubelet would swallow that other flag, which nobody can have meant.
    """
    flags = []
    index = 0
    while index < len(arguments):
        name, equals, value = arguments[index].partition("=")
        after = index + 1
        if name.startswith("--") and name.replace("_", "-") == FLAG:
            if not equals and after < len(arguments) and not arguments[after].startswith("-"):
                value = arguments[after]
                after += 1
            flags.append(NodeIpFlag(value, index, after))
        index = after
    return flags


def node_ip_values(arguments: Sequence[str]) -> list[str]:
    """The values of every ``--node-ip`` among ``arguments``, in order."""
    return [flag.value for flag in find_node_ip(arguments)]


def node_ip_value(current: str, address: str) -> str:
    """``current`` (one address or a dual-stack pair) with its IPv4 member replaced by ``address``.

    An IPv6 member keeps its place, because the first one decides the node's primary family; beside a lone IPv6
    address the IPv4 comes second. What the kubelet would ignore or refuse in a pair (garbage, ``::``) goes.
    """
    members = [(member.strip(), parsed) for member in current.split(",") for parsed in [_parse_any(member.strip())] if parsed is not None]
    ipv6 = next((member for member, parsed in members if parsed.version == 6 and not parsed.is_unspecified), None)
    if ipv6 is None:
        return address
    return f"{address},{ipv6}" if members[0][1].version == 4 else f"{ipv6},{address}"


def _parse_any(member: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(member)
    except ValueError:
        return None


# -- the plan -----------------------------------------------------------------------------------------------------


def plan(text: str, address: str) -> Plan:
    """The file ``text`` with exactly one ``--node-ip`` for the IPv4 ``address``, everything else as it was.

    A right flag is left as it is written; a wrong one is replaced where it stands; of several the last, which is the
    one the kubelet obeys, stays. Without one it becomes the first argument; without the variable, a last line.
    """
    target = _target(parse_assignments(text))
    words = split_words(target.chars) if target else []
    flags = find_node_ip([word.text for word in words])
    wanted = node_ip_value(flags[-1].value if flags else "", address)
    argument = f"{FLAG}={wanted}"

    edits: list[tuple[int, int, str]] = []
    if target is None:
        newline = "\r\n" if "\r\n" in text else "\n"
        separator = newline if text and text[-1] not in _NEWLINE else ""
        edits.append((len(text), len(text), f'{separator}{VARIABLE}="{argument}"{newline}'))
    elif not words:
        edits.append((target.inside, target.inside, argument))
    elif not flags:
        edits.append((words[0].start, words[0].start, f"{argument} "))
    else:
        # A flag before the last one always has a word after it, so the white space behind it goes with it.
        edits += [(words[flag.first].start, words[flag.after].start, "") for flag in flags[:-1]]
        if flags[-1].value != wanted:
            edits.append((words[flags[-1].first].start, words[flags[-1].after - 1].end, argument))

    after = text
    for start, end, replacement in reversed(edits):
        after = after[:start] + replacement + after[end:]
    _assert_only_flag_changed(text, after, wanted)
    return Plan(after, wanted, tuple(flag.value for flag in flags))


def _target(assignments: Sequence[Assignment]) -> Assignment | None:
    return next((assignment for assignment in reversed(assignments) if assignment.name == VARIABLE), None)


def _reading(text: str) -> tuple[list[tuple[str, str]], list[str], list[str]]:
    """What systemd sees in ``text``: the other assignments, the kubelet's other arguments, the values of ``--node-ip``."""
    assignments = parse_assignments(text)
    target = _target(assignments)
    others = [(assignment.name, assignment.value) for assignment in assignments if assignment is not target]
    words = [word.text for word in split_words(target.chars)] if target else []
    flags = find_node_ip(words)
    taken = {index for flag in flags for index in range(flag.first, flag.after)}
    return others, [word for index, word in enumerate(words) if index not in taken], [flag.value for flag in flags]


def _assert_only_flag_changed(before: str, after: str, wanted: str) -> None:
    """Raise unless ``after`` reads like ``before`` with ``wanted`` as its one node IP.

    Quotes can open or close in the middle of an argument; such a file is refused here rather than damaged.
    """
    refusal = HostError(f'{VARIABLE} is quoted in a way that {FLAG} cannot be put in safely; write it as {VARIABLE}="..." on one line and run again')
    others, arguments, _values = _reading(before)
    try:
        found = _reading(after)
    except HostError as exc:
        raise refusal from exc
    if found != (others, arguments, [wanted]):
        raise refusal
