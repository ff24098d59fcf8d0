#!/usr/bin/env node
/** `fakeai-server` is `fakeai serve`. */
import { main } from "./main.ts";

await main(["serve", ...process.argv.slice(2)]);
