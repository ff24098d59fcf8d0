/** A request of HTTP/1.1 that asks to change the protocol of its connection. */

/**
 * What a request asks to change to, in lower case (RFC 9110, section 7.8); undefined: nothing. Upgrade stands for one hop alone:
 * without its name in Connection it came from further away, and means nothing here.
 */
export function upgradeOf(upgrade: string | undefined, connection: string | undefined): string | undefined {
  if (upgrade === undefined || connection === undefined) return undefined;
  return hasToken(connection, "upgrade") ? upgrade.toLowerCase() : undefined;
}

/** Whether a comma-separated list holds a token, in any case. */
export function hasToken(list: string, token: string): boolean {
  return list
    .toLowerCase()
    .split(",")
    .some((word) => word.trim() === token);
}
