import type { TreeChange } from '#layerstack/fs/sync-fs.js'

type Found = Pick<TreeChange, 'kind' | 'path'> | undefined

/** Returns one line for each change that a comparison yields. */
export function changeLines(comparison: Iterable<Found>): string[] {
  return [...comparison].flatMap((found) => (found === undefined ? [] : [`${found.kind} ${found.path}`]))
}
