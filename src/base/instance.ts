/** Which server answered: so that a client behind a gateway can tell whether it reached the one that it means. */
/** Environment variable by which the processes of one server share their name. */
export const instanceVariable = "FAKEAI_SERVER_ID";

const given = process.env[instanceVariable];

/** Random for each server, the same for all of its processes: the value of `x-fakeai-instance`. */
export const instanceId: string = given !== undefined && /^[0-9a-f-]{36}$/.test(given) ? given : newId();

/** A UUID of version 4 (RFC 9562, section 5.4). It names, and guards nothing: node's own would load all of node:crypto at each start. */
function newId(): string {
  return "xxxxxxxx-xxxx-4xxx-yxxx-xxxxxxxxxxxx".replaceAll(/[xy]/g, (letter) =>
    Math.floor(letter === "x" ? Math.random() * 16 : 8 + Math.random() * 4).toString(16),
  );
}
