/** Which headers and members hold what no log and no file may keep. */

/** "tokens" are counts, as in headers of this server. Azure's gateways and functions have names of their own for a key. */
const secret =
  /^(?:(?:proxy-)?authorization|(?:set-)?cookie|x-auth(?:-.*)?|.*(?:api|access|subscription|functions)-?key|.*(?:token(?!s)|secret|password|credential).*)$/;

/** Whether a header of this name, in lower case, holds a key, a token or a cookie. */
export function isSecretName(name: string): boolean {
  return secret.test(name);
}
