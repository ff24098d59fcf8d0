/** What work costs, for tests that compare two amounts of work instead of waiting for a time. */

/** CPU time of this process for `work`, microseconds: the least of five runs, which other programs disturb least. */
export function leastCpuUs(work: () => void): number {
  const runs = Array.from({ length: 5 }, () => {
    const before = process.cpuUsage();
    work();
    const { user, system } = process.cpuUsage(before);
    return user + system;
  });
  return Math.min(...runs);
}
