/** Names of fields, as HTTP/2 and HTTP/3 have them alike (RFC 9113, sections 8.2 and 8.3; RFC 9114, sections 4.2 and 4.3). */

/** A token's characters without capitals (RFC 9110, section 5.6.2); 1: may stand in a name. */
const nameCharacters: Uint8Array = (() => {
  const allowed = new Uint8Array(256);
  for (const character of "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz") allowed[character.charCodeAt(0)] = 1;
  return allowed;
})();

const connectionFields: ReadonlySet<string> = new Set(["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"]);

/** What a request may begin with. */
export const pseudoFields: ReadonlySet<string> = new Set([":method", ":scheme", ":authority", ":path"]);

/** Hot path. A token in lower case. */
export function isFieldName(name: string): boolean {
  if (name.length === 0) return false;
  for (let at = 0; at < name.length; at++) if (nameCharacters[name.charCodeAt(at)] !== 1) return false;
  return true;
}

/** A token of any case, as methods are. */
export function isToken(text: string): boolean {
  return /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(text);
}

/** A field that belongs to HTTP/1.1, and makes a request malformed. */
export function isOfHttp1(name: string, value: string): boolean {
  return connectionFields.has(name) || (name === "te" && value !== "trailers");
}
