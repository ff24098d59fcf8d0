/** Members of Gemini's and Ollama's requests that take one of a few names: those that SDKs have pass, any other is refused. */
import {
  Behavior,
  FunctionCallingConfigMode,
  FunctionResponseScheduling,
  HarmBlockThreshold,
  HarmCategory,
  Language,
  MediaResolution,
  Outcome,
  PartMediaResolutionLevel,
  ThinkingLevel,
} from "@google/genai";
import { expect, test } from "vitest";
import { createServer } from "../../src/index.ts";

const generate = "/v1beta/models/gemini-any:generateContent";
const content = { parts: [{ text: "Hi" }] };
const part = (more: object): object => ({ contents: [{ parts: [{ text: "Hi", ...more }] }] });
const asked = (more: object): object => ({ contents: [content], ...more });
const taskTypes = [
  "RETRIEVAL_QUERY", "RETRIEVAL_DOCUMENT", "SEMANTIC_SIMILARITY", "CLASSIFICATION", "CLUSTERING", "QUESTION_ANSWERING",
  "FACT_VERIFICATION", "CODE_RETRIEVAL_QUERY",
]; // oxfmt-ignore

/** Where a member is, the names that it takes, a request that says one, and where a complaint places it. */
const members: readonly (readonly [string, readonly string[], (name: string) => object, string])[] = [
  [generate, Object.values(MediaResolution), (name) => asked({ generationConfig: { mediaResolution: name } }), "generation_config.media_resolution"],
  [generate, Object.values(ThinkingLevel), (name) => asked({ generationConfig: { thinkingConfig: { thinkingLevel: name } } }), "generation_config.thinking_config.thinking_level"],
  [generate, Object.values(FunctionCallingConfigMode), (name) => asked({ toolConfig: { functionCallingConfig: { mode: name } } }), "tool_config.function_calling_config.mode"],
  [generate, Object.values(HarmCategory), (name) => asked({ safetySettings: [{ category: name }] }), "safety_settings[0].category"],
  [generate, Object.values(HarmBlockThreshold), (name) => asked({ safety_settings: [{ threshold: name }] }), "safety_settings[0].threshold"],
  [generate, Object.values(Behavior), (name) => asked({ tools: [{ functionDeclarations: [{ name: "f", behavior: name }] }] }), "tools[0].function_declarations[0].behavior"],
  [generate, Object.values(PartMediaResolutionLevel), (level) => part({ mediaResolution: { level } }), "contents[0].parts[0].media_resolution.level"],
  [generate, Object.values(FunctionResponseScheduling), (scheduling) => part({ functionResponse: { name: "f", scheduling } }), "contents[0].parts[0].function_response.scheduling"],
  [generate, Object.values(Language), (language) => part({ executableCode: { language } }), "contents[0].parts[0].executable_code.language"],
  [generate, Object.values(Outcome), (outcome) => part({ codeExecutionResult: { outcome } }), "contents[0].parts[0].code_execution_result.outcome"],
  ["/v1beta/models/gemini-any:embedContent", taskTypes, (taskType) => ({ content, taskType }), "task_type"],
  ["/v1beta/models/gemini-any:batchEmbedContents", taskTypes, (taskType) => ({ requests: [{ content, taskType }] }), "requests[0].task_type"],
  ["/api/chat", ["user", "assistant", "system", "tool"], (role) => ({ model: "m", messages: [{ role, content: "x" }] }), "messages[0].role"],
  ["/api/chat", ["low", "medium", "high"], (think) => ({ model: "m", messages: [{ role: "user", content: "x" }], think }), "think"],
  ["/api/generate", ["json"], (format) => ({ model: "m", prompt: "x", format }), "format"],
]; // oxfmt-ignore

test.each(members)("%s: %j", async (path, names, bodyWith, place) => {
  await using server = await createServer({ outputTokens: 1 });
  const ask = async (name: string): Promise<[number, string]> => {
    const answer = await fetch(`${server.urls.h1}${path}`, { method: "POST", body: JSON.stringify(bodyWith(name)) });
    return [answer.status, await answer.text()];
  };
  for (const name of names) expect([name, (await ask(name))[0]]).toEqual([name, 200]);
  for (const name of ["constructor", "__proto__", `${names[0]}_`]) {
    const [status, body] = await ask(name);
    expect([name, status, body]).toEqual([name, 400, expect.stringContaining(place) as string]);
  }
});
