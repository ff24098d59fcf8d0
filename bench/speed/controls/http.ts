/** Control: raw node:http. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { announce, ControlWheel, controlOptions, pacedOn } from "./wheel.ts";

const options = controlOptions();
const wheel = new ControlWheel(options);
const headers = options.headersWithLength;

const server = createServer({ noDelay: true }, (request, response) => {
  request.resume();
  response.on("error", () => {});
  request.on("end", () => {
    if (options.mode === "paced") {
      wheel.add(pacedOn(response, () => response.writeHead(200, headers)));
      return;
    }
    response.writeHead(200, headers);
    if (options.mode === "unpaced") response.write(options.whole);
    response.end(options.mode === "unpaced" ? undefined : options.whole);
  });
});
server.listen({ host: "127.0.0.1", port: options.port, backlog: 4096 }, () => announce((server.address() as AddressInfo).port));
