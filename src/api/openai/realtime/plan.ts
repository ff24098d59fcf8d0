/** A response of Realtime: its request is the body of one to /v1/responses, and its answer the events of its session. */
import { ScriptFrames } from "../../../core/frames/script.ts";
import { AwaitedFrames } from "../../../core/pacing/keep-alive.ts";
import { frameSchedule } from "../../../core/pacing/schedule.ts";
import { servedProtocols } from "../../../core/protocols.ts";
import type { Protocol, ResponsePlan, RouteRequest } from "../../../core/seams.ts";
import { ApiError } from "../../errors/api-error.ts";
import { parseBody } from "../../shared/body.ts";
import { successHead } from "../../shared/heads.ts";
import type { Model } from "../../shared/model.ts";
import { planWithout } from "../../shared/plans.ts";
import { MessageRequest } from "../message-request.ts";
import { readResponse } from "../responses-request.ts";
import { wires } from "../wire.ts";
import { RealtimeStory, type Turn } from "./story.ts";

/** Later than any stream ends, and still a number. */
const neverUs = 1e15;

/** A response.create as a request. */
export class RealtimeMessage extends MessageRequest {
  readonly turn: Turn;
  /** Its response, once that is planned, and what its head tells of limits; null: it is not yet, or was refused. */
  planned: { readonly story: RealtimeStory; readonly headers: Readonly<Record<string, string>> } | null = null;

  constructor(handshake: RouteRequest, receivedUs: number, turn: Turn) {
    super(handshake, turn.metadata, receivedUs);
    this.turn = turn;
  }
}

/**
 * What HTTP gets where WebSocket alone is spoken (RFC 9110, section 15.5.22). HTTP/2 and HTTP/3 have no Upgrade. `upgrading`: protocols
 * on whose port it is spoken.
 */
export function webSocketOnly({ protocol }: RouteRequest, upgrading: ReadonlySet<Protocol>): ApiError {
  const { isHttp2, isQuic, isEncrypted } = servedProtocols[protocol];
  const s = isEncrypted ? "s" : "";
  const hint = upgrading.has(protocol)
    ? `Connect to ws${s}:// instead of http${s}://.`
    : "Start fakeai serve --protocol h1,ws, and connect to ws://.";
  const message = `This endpoint speaks WebSocket alone. (HINT: ${hint})`;
  return new ApiError(426, message, null, "websocket_required", isHttp2 || isQuic ? {} : { upgrade: "websocket", connection: "Upgrade" });
}

/** Plans the answer to a response.create. Throws ApiError. */
export function planRealtime(
  model: Model,
  clockIdentity: string,
  request: RouteRequest,
  bytes: Uint8Array,
  upgrading: ReadonlySet<Protocol>,
): ResponsePlan {
  const message = request.asked ?? request;
  if (!(message instanceof RealtimeMessage)) throw webSocketOnly(request, upgrading);
  const { settings } = model;
  // The API takes any limit from 1 on, /v1/responses none so low.
  const { max_output_tokens: limit = Infinity, ...body } = parseBody(bytes);
  const read = readResponse(body, settings, null);
  const answer = model.answer(request, { ...read.ask, limit: Math.min(read.ask.limit, limit as number) });
  const story = new RealtimeStory(answer, message.turn, read.mediaTokens, wires[settings.profile].obfuscates);
  const head = successHead({
    profile: settings.profile,
    streamed: true,
    tokens: answer.ask.promptTokens,
    processingMs: answer.firstUs / 1000,
    clock: answer.stamped ? clockIdentity : null,
  });
  message.planned = { story, headers: head.headers };
  const common = planWithout(answer, head, request.receivedUs);
  const frames = new ScriptFrames(story.script());
  const schedule = frameSchedule(answer.schedule, frames.steps());
  // Where the first token is due at once, the beginning goes with it.
  if (answer.firstUs === 0 && schedule.isLive !== true) return { ...common, frames, schedule };
  const awaited = new AwaitedFrames(
    { firstUs: 0, everyUs: neverUs, sign: (_, due, sent) => story.begin(due, sent), frames: () => frames },
    schedule,
  );
  return { ...common, frames: awaited, schedule: awaited };
}
