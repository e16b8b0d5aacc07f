import { MemoryFs } from '../fs/memory/memory-fs.js'
import type { SyncFs } from '../fs/sync-fs.js'
import { LayerApplier } from './apply.js'
import { splitHeaders } from './assemble.js'

export interface FlattenInput {
  readonly splitFile: string
  /** The files that this layer brought. */
  readonly contents: SyncFs
}

/**
 * The tree that a stack of layers makes, lowest first: inodes in memory, whose contents are the layers' own files. It is
 * made as the layers were, bottom-up and by the same rules, so that hard links, replaced types and deletions come out
 * as they do in a container. Only headers are read.
 */
export async function flattenedTree(
  layers: readonly FlattenInput[],
  yieldIfDue: () => Promise<void> | undefined,
): Promise<MemoryFs> {
  const tree = new MemoryFs()
  for (const { splitFile, contents } of layers) {
    const applier = new LayerApplier(
      { syncFs: tree },
      { contents: ({ size, sparse }, path) => ({ fs: contents, path, size: sparse?.size ?? size }) },
    )
    for await (const headers of splitHeaders(splitFile)) {
      for (const header of headers) {
        applier.part(header)
        const turn = yieldIfDue()
        if (turn !== undefined) await turn
      }
    }
    applier.finish()
  }
  return tree
}
