import { ModelFs } from '../fs/model-fs.js'
import type { RawFs } from '../fs/raw-fs.js'
import { LayerApplier } from './apply.js'
import { splitHeaders } from './assemble.js'

export interface FlattenInput {
  readonly splitFile: string
  /** The files that this layer brought. */
  readonly contents: RawFs
}

/**
 * The tree that a stack of layers makes, lowest first: inodes in memory, whose contents are the layers' own files. It is
 * made as the layers were, bottom-up and by the same rules, so that hard links, replaced types and deletions come out
 * as they do in a container. Only headers are read.
 */
export async function flattenedTree(
  layers: readonly FlattenInput[],
  breathe: () => Promise<void> | undefined,
): Promise<ModelFs> {
  const tree = new ModelFs()
  for (const { splitFile, contents } of layers) {
    const applier = new LayerApplier(
      { raw: tree },
      { contents: ({ size, sparse }, path) => ({ fs: contents, path, size: sparse?.size ?? size }) },
    )
    for await (const headers of splitHeaders(splitFile)) {
      for (const header of headers) {
        applier.part(header)
        const turn = breathe()
        if (turn !== undefined) await turn
      }
    }
    applier.finish()
  }
  return tree
}
