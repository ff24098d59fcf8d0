/**
 * Bystanders in a process of their own, so that what they see is the server's doing and not the attackers'. From
 * "begin" to "end" they ask for /health all the time, and read paced streams, on connections of their own. Not part of the
 * product.
 */
import { Agent as HttpAgent, request as httpRequest } from "node:http";
import { type ClientHttp2Session, connect } from "node:http2";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import { chat, chunksOf } from "../../support/chat.ts";
import { connectHttp3 } from "../../support/http3-client.ts";
import { sleep } from "../../support/wait.ts";

/** What bystanders are told: where to ask for /health, and where for streams. */
export interface Begin {
  readonly healthOrigin: string;
  readonly origin: string;
  readonly speaks: "h1" | "h2" | "h3";
}

/** What they saw. */
export interface Seen {
  /** How long each /health took. */
  readonly healthMs: readonly number[];
  readonly streams: number;
  /** How late the server sent each event of those streams, by its stamps. */
  readonly lateMs: readonly number[];
  /** What was wrong with a stream, or with /health. */
  readonly faults: readonly string[];
}

const tokens = 40;
const headers = { "x-fakeai-itl": "5", "x-fakeai-output-tokens": String(tokens), "x-fakeai-stamps": "1" };

/** One request over HTTP/1.1, and its whole body. */
function ask(url: string, agent: HttpAgent, body?: object, more: Readonly<Record<string, string>> = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = url.startsWith("https:") ? httpsRequest : httpRequest;
    request(url, { agent, method: body ? "POST" : "GET", headers: more, rejectUnauthorized: false }, (response) => {
      let text = "";
      response.on("data", (chunk: Buffer) => (text += chunk.toString()));
      response.on("end", () => resolve(text));
      response.on("error", reject);
    })
      .on("error", reject)
      .end(body && JSON.stringify(body));
  });
}

/** Reads streams on a connection of its own. */
interface StreamClient {
  stream(): Promise<string>;
  close(): void;
}

/** Streams on one HTTP/3 connection. */
function h3Client(origin: string): StreamClient {
  const client = connectHttp3(origin);
  client.catch(() => {});
  return {
    stream: () =>
      client
        .then((own) => own.ask({ headers, body: chat({ stream: true }) }))
        .then(
          ({ body }) => body,
          (error: Error) => error.message,
        ),
    close: () => void client.then((own) => own.close()).catch(() => {}),
  };
}

/** Streams on one HTTP/2 connection, and on another where the server has ended it in order: a busy machine makes one look idle. */
function h2Client(origin: string): StreamClient {
  let blamed: number | null = null;
  const open = (): ClientHttp2Session => {
    const session = connect(origin, { rejectUnauthorized: false });
    session.on("error", () => {});
    session.on("goaway", (code) => {
      if (code !== 0) blamed = code;
    });
    return session;
  };
  let session = open();
  return {
    stream: () =>
      new Promise((resolve) => {
        if (blamed !== null) return resolve(`GOAWAY ${blamed}`);
        if (session.closed || session.destroyed) session = open();
        const stream = session.request({ ":method": "POST", ":path": "/v1/chat/completions", ...headers });
        let text = "";
        stream.on("data", (chunk: Buffer) => (text += chunk.toString()));
        stream.on("error", (error) => resolve(`${error.message} after ${text.slice(-100)}`));
        stream.on("close", () => resolve(text));
        stream.end(JSON.stringify(chat({ stream: true })));
      }),
    close: () => session.destroy(),
  };
}

function begin({ healthOrigin, origin, speaks }: Begin): { end(): Promise<Seen> } {
  const state = { going: true };
  const healthMs: number[] = [];
  const lateMs: number[] = [];
  const faults: string[] = [];
  let streams = 0;
  const agent = new HttpAgent({ keepAlive: true });
  const streamAgent = origin.startsWith("https:") ? new HttpsAgent({ keepAlive: true }) : new HttpAgent({ keepAlive: true });
  const multiplexed = speaks === "h3" ? h3Client(origin) : speaks === "h2" ? h2Client(origin) : null;
  const probe = async (): Promise<void> => {
    while (state.going) {
      const startMs = performance.now();
      await ask(`${healthOrigin}/health`, agent).catch((error: Error) => faults.push(`/health: ${error.message}`));
      healthMs.push(performance.now() - startMs);
      await sleep(20);
    }
  };
  const stream = async (): Promise<void> => {
    while (state.going) {
      const answer = multiplexed
        ? await multiplexed.stream()
        : await ask(`${origin}/v1/chat/completions`, streamAgent, chat({ stream: true }), headers).catch((error: Error) => error.message);
      streams++;
      try {
        const chunks = chunksOf(answer);
        if (chunks.length !== tokens + 2) faults.push(`a stream of ${chunks.length} chunks`);
        for (const { fakeai } of chunks) lateMs.push((fakeai!.sent - fakeai!.due) / 1000);
      } catch (error) {
        faults.push((error as Error).message);
      }
    }
  };
  const all = [probe(), stream(), stream(), stream()];
  return {
    async end() {
      state.going = false;
      await Promise.all(all);
      agent.destroy();
      streamAgent.destroy();
      multiplexed?.close();
      return { healthMs, streams, lateMs, faults };
    },
  };
}

let going: ReturnType<typeof begin> | null = null;
process.on("message", (message: Begin | "end") => {
  if (message === "end") void going?.end().then((seen) => process.send!(seen));
  else going = begin(message);
});
process.on("disconnect", () => process.exit(0));
process.send!("ready");
