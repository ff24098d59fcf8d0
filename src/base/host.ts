/** Names and addresses of machines: as a person writes them, as a socket takes them, as a URL holds them. */
import { isIP, isIPv6 } from "node:net";

/** "[::1]", as in a URL, is the address ::1. Any other text stays as it is. */
export function bareHost(text: string): string {
  const inner = /^\[(.*)\]$/.exec(text)?.[1];
  return inner !== undefined && isIPv6(inner) ? inner : text;
}

/** A host as a URL holds it: an IPv6 address in brackets. */
export function hostInUrl(host: string): string {
  return isIPv6(host) ? `[${host}]` : host;
}

/** Whether something that listens on the host does so on every address: "::" takes IPv4 too. */
export function isEveryAddress(host: string): boolean {
  return host === "0.0.0.0" || (isIPv6(host) && canonical(host) === "[::]");
}

/** A host that a client of this machine reaches what listens on `host` by: no client can name "every address". */
export function reachableHost(host: string): string {
  return isEveryAddress(host) ? "127.0.0.1" : host;
}

/** Whether a host means this machine only: one to listen on, or one that a client names. */
export function isLoopback(host: string): boolean {
  const bare = bareHost(host);
  if (isIPv6(bare)) return /^\[::(?:1|ffff:7f[\da-f]{2}:[\da-f]{1,4})\]$/.test(canonical(bare));
  return /^(localhost|127\.\d{1,3}\.\d{1,3}\.\d{1,3})$/i.test(bare);
}

/** The address of a name, the one that node takes by itself. Rejects with an error of `getaddrinfo`. */
export async function addressOf(host: string): Promise<string> {
  if (isIP(host) !== 0) return host;
  const { lookup } = await import("node:dns/promises");
  return (await lookup(host)).address;
}

/** The shortest form (RFC 5952), in brackets. A zone ("%eth0") has no place in it. */
function canonical(address: string): string {
  return new URL(`http://[${address.replace(/%.*$/, "")}]`).hostname;
}
