/**
 * Bystanders in a process of their own, so that what they see is the server's doing and not the attackers'. From
 * "begin" to "end" they ask for /health all the time, and read paced streams, on connections of their own. Not part of the
 * product.
 */
import { Agent as HttpAgent, request as httpRequest } from "node:http";
import { type ClientHttp2Session, connect } from "node:http2";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import { WebSocket } from "ws";
import { chat, chunksOf } from "../../support/chat.ts";
import { askHttp3, type Http3Session, openHttp3 } from "../../support/http3-client.ts";
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

/** A handshake and a stream of a busy machine are done by then, milliseconds: what is not is told, and waited for no longer. */
const patienceMs = 20_000;

/** What is promised; a rejection after that time. */
const inTime = <T>(promised: Promise<T>): Promise<T> =>
  Promise.race([promised, sleep(patienceMs).then(() => Promise.reject(new Error(`nothing within ${patienceMs} ms`)))]);

/** Streams on one HTTP/3 connection, and on another where the server has ended it in order: a busy machine makes one look idle. */
function h3Client(origin: string): StreamClient {
  const noError = 0x100;
  let blamed: number | null = null;
  let session: Promise<Http3Session> | null = null;
  const open = async (): Promise<Http3Session> => {
    const opened = await openHttp3(origin);
    opened.on("close", ({ errorCode }) => {
      session = null;
      if (errorCode !== 0 && errorCode !== noError) blamed = errorCode;
    });
    return opened;
  };
  return {
    async stream() {
      if (blamed !== null) return `CONNECTION_CLOSE ${blamed}`;
      try {
        const own = await inTime((session ??= open()));
        return (await inTime(askHttp3(own, origin, { headers, body: chat({ stream: true }) }))).body;
      } catch (error) {
        return (error as Error).message;
      }
    },
    close: () => void session?.then((own) => own.close()).catch(() => {}),
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

/** Streams on lanes of one WebSocket, and of another where the server has closed it in order: as many deltas as tokens each. */
function wsClient(origin: string): { stream(loop: number): Promise<readonly Stamped[]>; close(): void } {
  const lanes = new Map<string, { readonly events: Stamped[]; readonly done: (fault: Error | null) => void }>();
  let socket: WebSocket | null = null;
  const open = (): WebSocket => {
    const opened = new WebSocket(`${origin}/v1/responses`, { headers, perMessageDeflate: false, rejectUnauthorized: false });
    const fail = (why: string): void => {
      if (socket === opened) socket = null;
      for (const { done } of lanes.values()) done(new Error(why));
      lanes.clear();
    };
    opened.on("error", (error) => fail(error.message));
    opened.on("close", (code) => fail(`the WebSocket was closed with ${code}`));
    opened.on("message", (data: Buffer) => {
      const event = JSON.parse(data.toString()) as Stamped & { readonly type: string; readonly stream_id: string };
      const lane = lanes.get(event.stream_id);
      if (event.type === "response.output_text.delta") lane?.events.push(event);
      if (event.type === "response.completed" || event.type === "response.incomplete") lane?.done(null);
      if (event.type === "error") lane?.done(new Error(data.toString()));
    });
    return opened;
  };
  return {
    // A lane for each loop: the second request of a lane waits for the end of the first.
    stream: (loop: number) => {
      const own = (socket ??= open());
      const lane = `b${loop}`;
      const events: Stamped[] = [];
      // What is stored is meant to be held.
      const asked = JSON.stringify({ type: "response.create", model: "m", input: "Hello", store: false, stream_id: lane });
      return inTime(
        new Promise((resolve, reject) => {
          lanes.set(lane, { events, done: (fault) => (fault === null ? resolve(events) : reject(fault)) });
          if (own.readyState === WebSocket.OPEN) own.send(asked);
          else own.once("open", () => own.send(asked));
        }),
      );
    },
    close: () => {
      lanes.clear();
      socket?.terminate();
    },
  };
}

interface Stamped {
  readonly fakeai?: { readonly due: number; readonly sent: number };
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
  const ws = origin.startsWith("ws") ? wsClient(origin) : null;
  const probe = async (): Promise<void> => {
    while (state.going) {
      const startMs = performance.now();
      await ask(`${healthOrigin}/health`, agent).catch((error: Error) => faults.push(`/health: ${error.message}`));
      healthMs.push(performance.now() - startMs);
      await sleep(20);
    }
  };
  const stream = async (loop: number): Promise<void> => {
    while (state.going) {
      if (ws !== null) {
        try {
          const events = await ws.stream(loop);
          if (events.length !== tokens) faults.push(`a response of ${events.length} tokens`);
          for (const { fakeai } of events) lateMs.push((fakeai!.sent - fakeai!.due) / 1000);
        } catch (error) {
          faults.push((error as Error).message);
        }
        streams++;
        continue;
      }
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
  const all = [probe(), stream(0), stream(1), stream(2)];
  return {
    async end() {
      state.going = false;
      await Promise.all(all);
      agent.destroy();
      streamAgent.destroy();
      multiplexed?.close();
      ws?.close();
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
