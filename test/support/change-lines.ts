import type { TreeChange } from '#layerstack/fs/sync-fs.js'

type Found = Pick<TreeChange, 'kind' | 'path'> | undefined

/** What a comparison found, one line each, without its pauses. */
export function changeLines(comparison: Iterable<Found>): string[] {
  return [...comparison].flatMap((found) => (found === undefined ? [] : [`${found.kind} ${found.path}`]))
}
