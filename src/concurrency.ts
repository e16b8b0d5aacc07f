import pLimit from 'p-limit'

const FEW = 16

/** As `Promise.all` of a map, but a store may have thousands of anything, and a process a few hundred files open. */
export function fewAtATime<T, U>(items: Iterable<T>, work: (item: T) => Promise<U>): Promise<U[]> {
  return pLimit(FEW).map(items, work)
}
