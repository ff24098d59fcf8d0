/** The dashboard as a page: one file, which asks nothing of any other host. */

/** What the page may do: run what is in it, and read this server's events. */
export const pagePolicy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'";

/** `events` is the path of the figures. */
export function dashboardPage(events: string): string {
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>fakeai</title>
<style>
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; }
  dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: 1rem; }
  dl div { border: 1px solid #8888; border-radius: .5rem; padding: .5rem .75rem; }
  dt { font-size: .875rem; }
  dd { margin: 0; font-size: 1.5rem; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
  pre { border: 1px solid #8888; border-radius: .5rem; padding: .75rem; overflow-x: auto; }
</style>
<main>
  <h1>fakeai</h1>
  <p id="state" role="status">waiting for figures</p>
  <dl>
    <div><dt>Streams under way</dt><dd id="streams">–</dd></div>
    <div><dt>Tokens/s</dt><dd id="tokens">–</dd></div>
    <div><dt>Responses/s</dt><dd id="responses">–</dd></div>
    <div><dt>Late by p50 / p99</dt><dd id="lateness">–</dd></div>
    <div><dt>Open connections</dt><dd id="connections">–</dd></div>
    <div><dt>Faults on purpose</dt><dd id="faults">–</dd></div>
    <div><dt>Waiting for a place</dt><dd id="queue">–</dd></div>
  </dl>
  <h2>Try it</h2>
  <pre tabindex="0"><code id="try"></code></pre>
</main>
<script>
  const show = (id, text) => { document.getElementById(id).textContent = text; };
  const number = (value) => Math.round(value).toLocaleString("en-US");
  const ms = (value) => value === null ? "–" : value.toFixed(value < 1 ? 3 : 1) + " ms";
  const counts = (of) => Object.entries(of).filter(([, count]) => count > 0).map(([name, count]) => name + " " + number(count)).join(", ") || "none";
  const source = new EventSource(${JSON.stringify(events)});
  source.onmessage = ({ data }) => {
    const figures = JSON.parse(data);
    show("state", "live, over the last " + figures.overS.toFixed(1) + " s");
    show("streams", number(figures.streams));
    show("tokens", number(figures.tokensPerSecond));
    show("responses", number(figures.responsesPerSecond));
    show("lateness", ms(figures.lateness.p50Ms) + " / " + ms(figures.lateness.p99Ms));
    show("connections", counts(figures.connections));
    show("faults", counts(figures.faults));
    show("queue", figures.queue === null ? "no queue" : number(figures.queue.waiting) + ", cache " + Math.round(figures.queue.cacheShare * 100) + "%");
  };
  source.onerror = () => show("state", "no figures: the server has ended, or has as many viewers as it takes");
  const trust = location.protocol === "https:" ? " --insecure" : "";
  const curl = "curl --no-buffer" + trust + " ";
  const key = " -H 'authorization: Bearer key'";
  show("try", [
    curl + location.origin + "/v1/models" + key,
    curl + location.origin + "/v1/chat/completions" + key + " -H 'content-type: application/json' \\\\\\n  -d '" + JSON.stringify({ model: "fakeai", stream: true, messages: [{ role: "user", content: "Hello" }] }) + "'",
    curl + location.origin + "/metrics",
  ].join("\\n"));
</script>
</html>
`;
}
