/** Control: raw node:http2, cleartext. */
import { createServer, type OutgoingHttpHeaders, type ServerHttp2Stream } from "node:http2";
import type { AddressInfo } from "node:net";
import { announce, ControlWheel, controlOptions, type Paced } from "./wheel.ts";

const options = controlOptions();
const wheel = new ControlWheel(options);
const headers: OutgoingHttpHeaders = { ":status": 200, ...options.headers };
if (options.mode === "unary") headers["content-length"] = options.whole.length;

function paced(stream: ServerHttp2Stream): Paced {
  let started = false;
  const control: Paced = {
    gone: false,
    dueMs: 0,
    next: 0,
    write(event) {
      if (!started) stream.respond(headers);
      started = true;
      stream.write(event);
    },
  };
  stream.on("close", () => {
    control.gone = true;
  });
  return control;
}

const server = createServer({ settings: { maxConcurrentStreams: 1000 }, maxSessionMemory: 250 });
server.on("stream", (stream) => {
  stream.on("error", () => {});
  stream.resume();
  stream.on("end", () => {
    if (options.mode === "paced") {
      wheel.add(paced(stream));
      return;
    }
    stream.respond(headers);
    stream.end(options.whole);
  });
});
server.listen({ host: "127.0.0.1", port: 0, backlog: 4096 }, () => announce((server.address() as AddressInfo).port));
