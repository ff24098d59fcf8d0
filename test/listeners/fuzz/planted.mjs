// Loaded before a server of the node engine: requests with the header x-planted go wrong in the ways that a search has to see.
import { EventEmitter } from "node:events";
import { Server } from "node:http";

const held = [];
const ways = {
  slow() {
    // Of the processor's time: a busy machine does not make it shorter.
    const before = process.cpuUsage();
    while (process.cpuUsage(before).user < 300_000);
  },
  large() {
    held.push(Buffer.alloc(150_000_000, 1));
  },
  wrong(response) {
    response.writeHead(500).end("planted");
    return true;
  },
  injected(response) {
    response.writeHead(200, { "x-injected": "1" }).end("{}");
    return true;
  },
  dropped(response) {
    response.socket.destroy();
    return true;
  },
  dead() {
    process.exit(9);
  },
};

Server.prototype.emit = function (event, ...args) {
  if (event === "request" && ways[args[0].headers["x-planted"]]?.(args[1]) === true) return true;
  return EventEmitter.prototype.emit.call(this, event, ...args);
};
