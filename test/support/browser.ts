/** A Chromium that a test drives by the DevTools protocol, over a pipe: sizes, colour schemes, paper, and what a page says of itself. */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import type { Readable, Writable } from "node:stream";
import { chromium, chromiumFlags } from "./chromium.ts";

/** How a page is looked at. */
export interface View {
  readonly width: number;
  readonly height: number;
  readonly scheme: "light" | "dark";
}

/** One page in a browser of its own. */
export interface Browser {
  /** Opens an address and waits until it is loaded. */
  open(url: string): Promise<void>;
  /** Resizes it, as a device of this size would show it. */
  view(view: View): Promise<void>;
  /** The value of an expression in the page, awaited; the page's policy does not bind it. */
  evaluate<T>(expression: string): Promise<T>;
  /** The page on A4 paper, as a PDF. */
  print(): Promise<Buffer>;
  /** Presses a key by its name, such as "Tab". */
  press(key: string): Promise<void>;
  close(): Promise<void>;
}

interface Message {
  readonly id?: number;
  readonly method?: string;
  readonly result?: Record<string, unknown>;
  readonly error?: { readonly message: string };
}

/** Starts it. Throws where it does not answer. */
export async function openBrowser(): Promise<Browser> {
  const profile = mkdtempSync(path.join(os.tmpdir(), "fakeai-browser-"));
  const child = spawn(chromium, [...chromiumFlags(profile), "--remote-debugging-pipe", "about:blank"], {
    stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"],
  });
  const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  const [input, output] = [child.stdio[3] as Writable, child.stdio[4] as Readable];
  const waiting = new Map<
    number,
    { readonly resolve: (result: Record<string, unknown>) => void; readonly reject: (error: Error) => void }
  >();
  const events = new Map<string, () => void>();
  let [last, rest] = [0, ""];
  output.setEncoding("utf8").on("data", (chunk: string) => {
    const texts = (rest + chunk).split("\0");
    rest = texts.pop()!;
    for (const text of texts) {
      const { id, method, result = {}, error } = JSON.parse(text) as Message;
      if (id === undefined) events.get(method ?? "")?.();
      else if (error === undefined) waiting.get(id)?.resolve(result);
      else waiting.get(id)?.reject(new Error(error.message));
    }
  });
  const send = (method: string, params: object = {}, sessionId?: string): Promise<Record<string, unknown>> =>
    new Promise((resolve, reject) => {
      const id = ++last;
      waiting.set(id, { resolve, reject });
      input.write(`${JSON.stringify({ id, method, params, ...(sessionId === undefined ? {} : { sessionId }) })}\0`);
    });
  child.once("exit", () => {
    for (const { reject } of waiting.values()) reject(new Error("the browser has ended"));
  });
  const { targetInfos } = (await send("Target.getTargets")) as { targetInfos: { targetId: string; type: string }[] };
  const { targetId } = targetInfos.find(({ type }) => type === "page")!;
  const { sessionId } = (await send("Target.attachToTarget", { targetId, flatten: true })) as { sessionId: string };
  const page = (method: string, params: object = {}): Promise<Record<string, unknown>> => send(method, params, sessionId);
  await page("Page.enable");
  return {
    async open(url) {
      const loaded = new Promise<void>((resolve) => events.set("Page.loadEventFired", resolve));
      await page("Page.navigate", { url });
      await loaded;
    },
    async view({ width, height, scheme }) {
      const features = [{ name: "prefers-color-scheme", value: scheme }];
      await page("Emulation.setDeviceMetricsOverride", { width, height, deviceScaleFactor: 1, mobile: width < 700 });
      await page("Emulation.setEmulatedMedia", { features });
    },
    async evaluate<T>(expression: string) {
      const answer = await page("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true });
      const { result, exceptionDetails } = answer as { result: { value: T }; exceptionDetails?: { exception?: { description: string } } };
      if (exceptionDetails !== undefined) throw new Error(exceptionDetails.exception?.description ?? "thrown in the page");
      return result.value;
    },
    async print() {
      const { data } = (await page("Page.printToPDF", { paperWidth: 8.27, paperHeight: 11.69, preferCSSPageSize: true })) as {
        data: string;
      };
      return Buffer.from(data, "base64");
    },
    async press(key) {
      for (const type of ["keyDown", "keyUp"])
        await page("Input.dispatchKeyEvent", {
          type,
          key,
          code: key,
          windowsVirtualKeyCode: key === "Tab" ? 9 : 13,
          text: key === "Enter" ? "\r" : "",
        });
    },
    async close() {
      await send("Browser.close").catch(() => undefined);
      await exited;
      rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}
