import pLimit from 'p-limit'

const FEW = 16

/**
 * `Promise.all` over a map, 16 items at a time: a store may have thousands of items, and a process may open only a few
 * hundred files.
 */
export function fewAtATime<T, U>(items: Iterable<T>, work: (item: T) => Promise<U>): Promise<U[]> {
  return pLimit(FEW).map(items, work)
}
