#!/usr/bin/env python3
"""Names of Services for the cluster of up.sh, where no DNS server is at hand: A records of NAME.NAMESPACE.svc.cluster.local, from the API.

dns.py ADDRESS KUBECONFIG: UDP on port 53. A Service's own address, or those of its ready pods where it is headless; other names do not exist.
"""
import json, re, socket, ssl, struct, sys, time, urllib.request

address, kubeconfig = sys.argv[1:3]
text = open(kubeconfig).read()
server = re.search(r'server: "([^"]+)"', text).group(1)
token = re.search(r'token: "([^"]+)"', text).group(1)
context = ssl._create_unverified_context()
kept = {}


def get(path):
    request = urllib.request.Request(server + path, headers={"authorization": "Bearer " + token})
    return json.load(urllib.request.urlopen(request, context=context, timeout=2))


def addresses(name):
    """None: there is no such name."""
    match = re.fullmatch(r"([a-z0-9-]+)\.([a-z0-9-]+)\.svc\.cluster\.local", name)
    if match is None:
        return None
    service, namespace = match.groups()
    try:
        ip = get(f"/api/v1/namespaces/{namespace}/services/{service}")["spec"].get("clusterIP", "None")
        if ip != "None":
            return [ip]
        subsets = get(f"/api/v1/namespaces/{namespace}/endpoints/{service}").get("subsets") or []
        return [one["ip"] for subset in subsets for one in subset.get("addresses") or []]
    except OSError:
        return None


def answer(query):
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode("latin1").lower())
        at += 1 + query[at]
    question = query[12 : at + 5]
    kind = struct.unpack(">H", query[at + 1 : at + 3])[0]
    name = ".".join(labels)
    if name not in kept or time.monotonic() - kept[name][0] > 1:
        kept[name] = (time.monotonic(), addresses(name))
    found = kept[name][1]
    records = [socket.inet_aton(ip) for ip in found or []] if kind == 1 else []
    flags = 0x8583 if found is None else 0x8580
    head = query[:2] + struct.pack(">HHHHH", flags, 1, len(records), 0, 0)
    return head + question + b"".join(b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 1, 4) + record for record in records)


socket_ = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
socket_.bind((address, 53))
while True:
    query, peer = socket_.recvfrom(4096)
    try:
        socket_.sendto(answer(query), peer)
    except (IndexError, struct.error):
        pass
