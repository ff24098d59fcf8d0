import { H2loadDriver } from "./h2load.ts";
import type { DriverName, LoadDriver } from "../job.ts";
import { LoaderDriver } from "./stream.ts";

/** A driver by its name. It starts processes at its first run; `close` ends them. */
export function driverNamed(name: DriverName): LoadDriver {
  return name === "h2load" ? new H2loadDriver() : new LoaderDriver(name);
}
