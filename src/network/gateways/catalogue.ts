/** The gateways that can be started. To add one, add a file of its own and a row here. */
import { apache } from "./apache.ts";
import { caddy } from "./caddy.ts";
import { envoy } from "./envoy.ts";
import type { Gateway } from "./gateway.ts";
import { haproxy } from "./haproxy.ts";
import { litellm } from "./litellm.ts";
import { nginx } from "./nginx.ts";
import { portkey } from "./portkey.ts";

/** Proxies that pass on what they are sent: those that `via` of a scenario may name. */
export type GatewayName = "nginx" | "haproxy" | "caddy" | "apache" | "envoy";

/** Of a scenario's `via`. */
export const proxies: Readonly<Record<GatewayName, Gateway>> = { nginx, haproxy, caddy, apache, envoy };

/** By name; a name that a command was given may be none of them. Those behind the proxies read and write calls to models anew. */
export const gateways: Readonly<Record<string, Gateway>> = { ...proxies, litellm, portkey };
