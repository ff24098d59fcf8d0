/** Control: raw node:http2, cleartext. */
import { createServer, type OutgoingHttpHeaders } from "node:http2";
import type { AddressInfo } from "node:net";
import { announce, ControlWheel, controlOptions, pacedOn } from "./wheel.ts";

const options = controlOptions();
const wheel = new ControlWheel(options);
const headers: OutgoingHttpHeaders = { ":status": 200, ...options.headersWithLength };

const server = createServer({ settings: { maxConcurrentStreams: 1000 }, maxSessionMemory: 250 });
server.on("stream", (stream) => {
  stream.on("error", () => {});
  stream.resume();
  stream.on("end", () => {
    if (options.mode === "paced") {
      wheel.add(pacedOn(stream, () => stream.respond(headers)));
      return;
    }
    stream.respond(headers);
    stream.end(options.whole);
  });
});
server.listen({ host: "127.0.0.1", port: options.port, backlog: 4096 }, () => announce((server.address() as AddressInfo).port));
