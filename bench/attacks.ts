/**
 * Every attack of test/attacks by itself, five times, against a server of its own: what the test asserts of all cases at once
 * is asserted here of each, with the maximum of /health in place of a percentile.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { loadQuic, quicLack } from "../src/base/quic.ts";
import { describeEnvironment } from "../src/runner/processes/machine.ts";
import { Attacked } from "../test/listeners/attacks/attacked.ts";
import { type Batch, batches, type Case, uwsDeadlines } from "../test/listeners/attacks/cases.ts";
import { attacksFolder as folder, fuzzFile, withFuzzSections } from "./support/fuzz-page.ts";
import { measuredTable, table } from "./support/page.ts";
import { reproductionsFile } from "./support/reproductions.ts";
import { Attackers, besiege, Bystanders, missing, mostHeap, mostRss, quantile, QuicAttackers } from "../test/listeners/attacks/harness.ts";

/** What /health may take during an attack, and how late an event of a sibling stream may be sent. */
const mostHealthMs = 250;

interface Row {
  readonly attack: string;
  readonly attacks: number;
  readonly health: { readonly asked: number; readonly p50Ms: number; readonly p99Ms: number; readonly maxMs: number };
  readonly siblings: { readonly streams: number; readonly lateP99Ms: number; readonly lateMaxMs: number };
  readonly rssBytes: number;
  readonly rssRatio: number;
  readonly heapBytes: number;
  readonly heapRatio: number;
  /** What was not as it has to be; empty: all was. */
  readonly failures: readonly string[];
}

/** Rows of one batch: a file. */
interface Report {
  readonly protocol: string;
  readonly engine: string;
  readonly name: string;
  readonly startedAt: string;
  readonly environment: ReturnType<typeof describeEnvironment>;
  readonly rows: readonly Row[];
}

async function rowOf(
  batch: Batch,
  name: string,
  cases: readonly Case[],
  bystanders: Bystanders,
  attackers: Attackers | QuicAttackers,
): Promise<Row> {
  const protocol = batch.protocol === "h1" ? "h1" : `h1,${batch.protocol}`;
  const attacked = await Attacked.start({ ...batch.options, protocol });
  try {
    const { seen, held, rssRatio, heapRatio, rounds, unmoved } = await besiege(
      { protocol: batch.protocol, cases, windows: 2, ...(cases === uwsDeadlines && { patience: 16 }) },
      attacked,
      attackers,
      bystanders,
    );
    const { healthMs, lateMs, streams, faults } = seen;
    const maxMs = quantile(healthMs, 1);
    const failures = [
      ...(attacked.died === null ? [] : [`the server died: ${attacked.died}`]),
      ...new Set(faults),
      ...(maxMs < mostHealthMs ? [] : [`/health took ${maxMs.toFixed(0)} ms`]),
      ...(quantile(lateMs, 1) < mostHealthMs ? [] : [`a sibling was ${quantile(lateMs, 1).toFixed(0)} ms late`]),
      ...(rssRatio <= mostRss ? [] : [`RSS grew to ${rssRatio.toFixed(3)}`]),
      ...(heapRatio <= mostHeap ? [] : [`the heap grew to ${heapRatio.toFixed(3)}`]),
      ...unmoved.map((counter) => `${counter} did not move`),
    ];
    return {
      attack: name,
      attacks: rounds,
      health: { asked: healthMs.length, p50Ms: quantile(healthMs, 0.5), p99Ms: quantile(healthMs, 0.99), maxMs },
      siblings: { streams, lateP99Ms: quantile(lateMs, 0.99), lateMaxMs: quantile(lateMs, 1) },
      rssBytes: held.rssBytes,
      rssRatio,
      heapBytes: held.heapBytes,
      heapRatio,
      failures,
    };
  } finally {
    await attacked.stop();
  }
}

function tableOf(reports: readonly Report[]): string {
  const rows = reports.flatMap((report) => report.rows.map((row) => ({ ...row, on: `${report.protocol} ${report.engine}` })));
  const bad = rows.filter(({ failures }) => failures.length > 0);
  const worst = (pick: (row: Row) => number): string => Math.max(...rows.map(pick)).toFixed(3);
  const cells = rows.map(({ attack, on, attacks, health, siblings, rssBytes, rssRatio, heapRatio, failures }) => [
    attack.replaceAll("_", " "),
    on,
    attacks,
    `${health.p50Ms.toFixed(1)} / ${health.p99Ms.toFixed(1)} / ${health.maxMs.toFixed(1)}`,
    `${siblings.streams}, ${siblings.lateP99Ms.toFixed(1)} / ${siblings.lateMaxMs.toFixed(1)}`,
    `${Math.round(rssBytes / 1e6)} MB x ${rssRatio.toFixed(3)}`,
    heapRatio.toFixed(3),
    failures.length === 0 ? "held" : `**${failures.join("; ")}**`,
  ]);
  const header = ["case", "on", "attacks", "/health p50 / p99 / max, ms", "sibling streams, events late p99 / max, ms", "RSS", "heap", ""];
  return `# Attacks, one by one

Written by \`npm run measure -- attacks\`, batch by batch. Each case of
[the listeners' table](../../src/listeners/README.md#cases) by itself, five times, against a server of its own. A process of its
own asks for /health on another connection every 20 ms and reads three paced streams at a time of the attacked port. A row holds
when the process lives, /health takes less than ${mostHealthMs} ms each time, each sibling stream comes whole and no event of it is sent that late, sessions, streams, sockets and
timers are back to 0, after the fifth attack the heap after a collection is at most ${mostHeap} and RSS at most ${mostRss.toFixed(2)} times what it was after the
second (in a row of eight attacks, after the eighth and the fifth), and the case's counter moved with each attack. What the server answers is asserted by the tests.

${rows.length - bad.length} of ${rows.length} rows hold. The longest /health of all took ${Math.max(...rows.map(({ health }) => health.maxMs)).toFixed(1)} ms; the largest RSS ratio is ${worst(({ rssRatio }) => rssRatio)}, the largest heap ratio ${worst(({ heapRatio }) => heapRatio)}.

${table(header, cells)}

${measuredTable(reports.map((report) => ({ ...report, what: `${report.protocol} ${report.engine}, ${report.name}` })))}
`;
}

/** The page of the figures that are there. */
function writePage(): void {
  const reports = readdirSync(folder)
    .filter((name) => name.endsWith(".json") && name !== fuzzFile && name !== reproductionsFile)
    .map((name) => JSON.parse(readFileSync(`${folder}${name}`, "utf8")) as Report);
  writeFileSync(`${folder}README.md`, withFuzzSections(tableOf(reports)));
}

const asked = process.argv.slice(2);
if (asked.includes("--again")) {
  writePage();
  process.exit(0);
}
if (missing !== null) throw new Error(missing);
const slugOf = ({ protocol, engine, name }: Batch): string => `${protocol}-${engine}-${name.replaceAll(/\W+/g, "-")}`;
const uws = batches.find(({ protocol, engine }) => protocol === "h1" && engine === "uws")!;
/** What the engine ends by itself runs at once, because each takes 11 s. */
const groups: readonly Batch[] = [
  ...batches,
  { ...uws, name: "what the engine ends near 11 s, all at once", options: {}, cases: uwsDeadlines },
];
/** The attacks of a batch that were asked for. */
function wanted(batch: Batch): (attack: string) => boolean {
  const [slug, words] = [slugOf(batch), asked.map((word) => word.split("/"))];
  return (attack) =>
    words.length === 0 || words.some(([start, name]) => slug.startsWith(start!) && (name === undefined || name === attack));
}
/** Each attack by itself; those that the engine ends at once. */
const runsOf = ({ name, cases }: Batch): [string, readonly Case[]][] =>
  cases === uwsDeadlines ? [[name, cases]] : cases.map((each) => [each.attack, [each]]);
if (!groups.some((batch) => runsOf(batch).some(([each]) => wanted(batch)(each)))) {
  process.stderr.write(`attacks: ${asked.join(", ")}: no batch begins so, and no case in one is called so (for example h2/rapid_reset)\n`);
  process.exit(2);
}
const bystanders = await Bystanders.start();
const attackers = new Attackers();
const quicAttackers = loadQuic() === null ? null : new QuicAttackers();
if (quicAttackers === null) console.log(`rows of h3 are left out: ${quicLack()}`);
mkdirSync(folder, { recursive: true });
let failed = 0;
const single = asked.some((word) => word.includes("/"));
for (const batch of groups) {
  const { protocol, engine, name } = batch;
  const own = protocol === "h3" ? quicAttackers : attackers;
  if (own === null) continue;
  const startedAt = new Date().toISOString();
  const rows: Row[] = [];
  for (const [attack, cases] of runsOf(batch).filter(([each]) => wanted(batch)(each))) {
    const row = await rowOf(batch, attack, cases, bystanders, own);
    rows.push(row);
    failed += row.failures.length;
    console.log(
      `${protocol} ${engine} ${attack}: /health max ${row.health.maxMs.toFixed(0)} ms, RSS x ${row.rssRatio.toFixed(3)}, ` +
        `heap x ${row.heapRatio.toFixed(3)}, ${row.attacks} attacks ${row.failures.join("; ")}`,
    );
  }
  if (single || rows.length === 0) continue;
  const environment = describeEnvironment(false, "fakeai");
  const report: Report = { protocol, engine, name, startedAt, environment, rows };
  writeFileSync(`${folder}${slugOf(batch)}.json`, `${JSON.stringify(report, null, 2)}\n`);
}
if (!single) writePage();
attackers.stop();
quicAttackers?.stop();
bystanders.stop();
process.exitCode = failed === 0 ? 0 : 1;
