/** Control: two processes of a raw engine on one port. Its arguments are the engine's file and the engine's own. */
import cluster from "node:cluster";
import { createServer, type AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import { announce } from "./wheel.ts";

const [engine, ...args] = process.argv.slice(2);
const probe = createServer().listen(0, "127.0.0.1", () => {
  const { port } = probe.address() as AddressInfo;
  probe.close(() => {
    cluster.setupPrimary({ exec: fileURLToPath(new URL(`${engine}.js`, import.meta.url)), args: [...args, "--port", String(port)] });
    let silent = 2;
    for (let count = silent; count > 0; count--) {
      cluster.fork().once("message", () => {
        if (--silent === 0) announce(port);
      });
    }
  });
});
