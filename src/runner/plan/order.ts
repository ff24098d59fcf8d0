/** The order of arms, seeded: a shuffle, then the same backwards (ABBA), so that a steady drift cancels out. */

/** A small seeded generator (mulberry32 by Tommy Ettinger, public domain): uniform in [0, 1). */
export function seededRandom(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** For each round, the indices of the arms in the order in which they run. */
export function orderOfRounds(arms: number, rounds: number, seed: number): number[][] {
  const random = seededRandom(seed);
  const orders: number[][] = [];
  for (let round = 0; round < rounds; round++) {
    if (round % 2 === 1) {
      orders.push(orders[round - 1]!.toReversed());
      continue;
    }
    const order = Array.from({ length: arms }, (_, i) => i);
    for (let i = arms - 1; i > 0; i--) {
      const j = Math.floor(random() * (i + 1));
      [order[i], order[j]] = [order[j]!, order[i]!];
    }
    orders.push(order);
  }
  return orders;
}
