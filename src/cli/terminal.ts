/** How tables are drawn on the terminal that this process writes to. */

/** Colors where a person reads, unless NO_COLOR says otherwise (no-color.org); columns of the terminal, 100 where there is none. */
export function tableStyle(): { readonly color: boolean; readonly width: number } {
  return { color: process.stdout.isTTY && process.env["NO_COLOR"] === undefined, width: process.stdout.columns ?? 100 };
}
