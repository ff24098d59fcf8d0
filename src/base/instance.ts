/** Which server answered: so that a client behind a gateway can tell whether it reached the one that it means. */
/** Environment variable by which the processes of one server share their name, and replicas behind one address. A UUID. */
export const instanceVariable = "FAKEAI_SERVER_ID";

const given = process.env[instanceVariable];

/** The value of `x-fakeai-instance`: random for each server, the same for all of its processes, and for replicas that are given one. */
export const instanceId: string = given !== undefined && isInstanceId(given) ? given : newId();

/** Whether a text is a UUID as one is written (RFC 9562, section 4), in lower case. It goes into a header as it is. */
export function isInstanceId(text: string): boolean {
  return /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(text);
}

/** A UUID of version 4 (RFC 9562, section 5.4). It names, and guards nothing: node's own would load all of node:crypto at each start. */
function newId(): string {
  return "xxxxxxxx-xxxx-4xxx-yxxx-xxxxxxxxxxxx".replaceAll(/[xy]/g, (letter) =>
    Math.floor(letter === "x" ? Math.random() * 16 : 8 + Math.random() * 4).toString(16),
  );
}
