/** Which requests may read and change knobs. */
import { ApiError } from "../api/errors/api-error.ts";
import { isLoopback } from "../base/host.ts";
import type { RouteRequest } from "../core/seams.ts";
import { KeyRing } from "../base/keys.ts";

/** Headers of browsers' requests from pages, and of proxies. */
const fromElsewhere = ["origin", "x-forwarded-for", "forwarded", "via"];

/**
 * The check of `/admin/config`; it throws ApiError. With a token: Bearer, compared in constant time. Without one the server
 * listens on loopback only. That keeps other machines out, but not a page in a browser or a proxy on this machine: a
 * request with one of their headers, or with another host's name, is refused too.
 */
export function adminCheck(token: string | null): (request: RouteRequest) => void {
  const ring = token === null ? null : new KeyRing([token]);
  return (request) => {
    if (ring !== null) {
      const shown = /^bearer\s+(\S+)$/i.exec(request.header("authorization")?.trim() ?? "")?.[1];
      if (shown !== undefined && ring.find(shown) >= 0) return;
      throw new ApiError(401, "This needs the admin token as Bearer authorization.", null, "invalid_admin_token", {
        "www-authenticate": 'Bearer realm="fakeai admin"',
      });
    }
    const host = (request.header(":authority") ?? request.header("host") ?? "").replace(/:\d+$/, "");
    if (fromElsewhere.some((name) => request.header(name) !== undefined) || !isLoopback(host)) {
      throw new ApiError(403, "Without an admin token only programs on this machine, by its own address, may ask this.", null, "forbidden");
    }
  };
}
