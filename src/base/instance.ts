/** Which server answered: so that a client behind a gateway can tell whether it reached the one that it means. */
import { randomUUID } from "node:crypto";

/** Environment variable by which the processes of one server share their name. */
export const instanceVariable = "FAKEAI_INSTANCE";

const given = process.env[instanceVariable];

/** Random for each server, the same for all of its processes: the value of `x-fakeai-instance`. */
export const instanceId: string = given !== undefined && /^[0-9a-f-]{36}$/.test(given) ? given : randomUUID();
