/** Which headers, members and parameters hold what no log and no file may keep. */

/** "tokens" are counts, as in headers of this server. Azure's gateways and functions have names of their own for a key. A page's handshake of WebSocket has it in a subprotocol. */
const secret =
  /^(?:(?:proxy-)?authorization|(?:set-)?cookie|x-auth(?:-.*)?|sec-websocket-protocol|.*(?:api|access|subscription|functions)-?key|.*(?:token(?!s)|secret|password|credential).*)$/;

/** Whether a header of this name, in lower case, holds a key, a token or a cookie. */
export function isSecretName(name: string): boolean {
  return secret.test(name);
}

/** What stands for a secret. */
export const hidden = "[hidden]";

/** Parameters of queries that hold secrets under names of their own: Gemini's key, Azure's functions and signed addresses. */
const secretParameters: ReadonlySet<string> = new Set(["key", "code", "sig", "signature", "x-amz-signature"]);

/** A query with the values of keys, tokens and signatures hidden. */
export function withoutSecrets(query: string): string {
  if (query === "") return "";
  const parts = query.split("&").map((part) => {
    const end = part.indexOf("=");
    const name = (end < 0 ? part : part.slice(0, end)).replaceAll("+", " ");
    const plain = decoded(name).trim().toLowerCase().replaceAll("_", "-");
    if (!secretParameters.has(plain) && !isSecretName(plain)) return part;
    return end < 0 ? part : `${part.slice(0, end)}=${hidden}`;
  });
  return parts.join("&");
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
