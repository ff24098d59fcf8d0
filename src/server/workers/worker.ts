/**
 * The program of a worker. It loads its modules in steps: node reads all that one imports at the same time, and each read holds a
 * file, so that one step would end the process where few files may be open (`ulimit -n 64`).
 */
await import("../../settings/server.ts");
await import("../server.ts");
await import("./serving.ts");
