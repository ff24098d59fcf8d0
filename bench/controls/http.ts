/** Control: raw node:http. */
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { announce, ControlWheel, controlOptions, type Paced } from "./wheel.ts";

const options = controlOptions();
const wheel = new ControlWheel(options);
const headers = options.mode === "unary" ? { ...options.headers, "content-length": options.whole.length } : options.headers;

function paced(response: ServerResponse): Paced {
  let started = false;
  const control: Paced = {
    gone: false,
    dueMs: 0,
    next: 0,
    write(event) {
      if (!started) response.writeHead(200, headers);
      started = true;
      response.write(event);
    },
  };
  response.on("close", () => {
    control.gone = true;
  });
  return control;
}

const server = createServer({ noDelay: true }, (request, response) => {
  request.resume();
  response.on("error", () => {});
  request.on("end", () => {
    if (options.mode === "paced") {
      wheel.add(paced(response));
      return;
    }
    response.writeHead(200, headers);
    if (options.mode === "unpaced") response.write(options.whole);
    response.end(options.mode === "unpaced" ? undefined : options.whole);
  });
});
server.listen({ host: "127.0.0.1", port: 0, backlog: 4096 }, () => announce((server.address() as AddressInfo).port));
