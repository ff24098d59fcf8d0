// Opens so many streams of so many tokens at servers by their origins, and says how many came whole: streams.mjs 60 300 http://10.0.0.1
const [count, tokens, ...origins] = process.argv.slice(2);
const body = JSON.stringify({
  model: "any",
  stream: true,
  max_tokens: Number(tokens),
  ignore_eos: true,
  messages: [{ role: "user", content: "Go on." }],
});
const one = async (i) => {
  const response = await fetch(`${origins[i % origins.length]}:8000/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body,
  });
  const text = await response.text();
  return text.trimEnd().endsWith("data: [DONE]") && (text.match(/"content":/g) ?? []).length >= Number(tokens);
};
const ends = await Promise.allSettled(Array.from({ length: Number(count) }, (_, i) => one(i)));
const whole = ends.filter(({ status, value }) => status === "fulfilled" && value).length;
process.stdout.write(`${whole} of ${count} streams came whole\n`);
for (const { reason } of ends.filter(({ status }) => status === "rejected").slice(0, 3))
  process.stdout.write(`${String(reason?.cause ?? reason)}\n`);
process.exit(whole === Number(count) ? 0 : 1);
