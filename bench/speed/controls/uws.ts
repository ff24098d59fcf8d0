/** Control: raw uWebSockets.js. */
import * as uws from "uWebSockets.js";
import { announce, ControlWheel, controlOptions, type Paced } from "./wheel.ts";

const options = controlOptions();
const wheel = new ControlWheel(options);
const headers = Object.entries(options.headers);
(uws as typeof uws & { _cfg(option: string): void })._cfg("silent");

let pending: { response: uws.HttpResponse; event: Buffer };
const flush = (): void => {
  pending.response.write(pending.event);
};

function head(response: uws.HttpResponse): void {
  response.writeStatus("200 OK");
  for (const [name, value] of headers) response.writeHeader(name, value);
}

function paced(response: uws.HttpResponse): Paced {
  const slot = { response, event: options.events[0]! };
  const flushHead = (): void => {
    head(response);
    flush();
  };
  let started = false;
  return {
    gone: false,
    dueMs: 0,
    next: 0,
    write(event) {
      slot.event = event;
      pending = slot;
      response.cork(started ? flush : flushHead);
      started = true;
    },
  };
}

uws
  .App()
  .any("/*", (response) => {
    let stream: Paced | null = null;
    response.onAborted(() => {
      if (stream !== null) stream.gone = true;
    });
    response.onData((_chunk, isLast) => {
      if (!isLast) return;
      if (options.mode === "paced") {
        wheel.add((stream = paced(response)));
        return;
      }
      response.cork(() => {
        head(response);
        if (options.mode === "unary") {
          response.end(options.whole);
        } else {
          // As fakeai's: a stream does not announce its length.
          response.write(options.whole);
          response.end();
        }
      });
    });
  })
  .listen("127.0.0.1", options.port, (socket) => {
    if (!socket) throw new Error("cannot listen");
    announce(uws.us_socket_local_port(socket));
  });
