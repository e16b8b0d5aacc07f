import { MemoryFs } from '../fs/memory/memory-fs.js'
import type { SyncFs } from '../fs/sync-fs.js'
import { LayerApplier } from './apply.js'
import { splitHeaders } from './assemble.js'

export interface FlattenInput {
  readonly splitFile: string
  /** The layer's own files. */
  readonly contents: SyncFs
}

/**
 * Returns the tree of a stack of layers, lowest first: inodes in memory whose contents refer to the layers' own files.
 * The layers are applied bottom-up by the rules that unpacked them. Hard links, replaced types and deletions come out
 * as in a container. Reads only headers.
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
