import { mkdirSync } from 'node:fs'
import { treeOf, type Tree } from '#layerstack/conformance/tree.js'
import { HostFs } from '#layerstack/fs/host/host-fs.js'
import type { UnpackJob } from '#layerstack/jobs/work/unpack.js'

/** Creates a directory to unpack a layer into. */
export function targetAt(root: string): UnpackJob['target'] {
  mkdirSync(root)
  return { form: 'merged', files: filesAt(root), lowers: [] }
}

/** The tree at a root, with all times except those of the root, which a tar does not contain. */
export function treeAt(root: string): Tree {
  using files = new HostFs(filesAt(root))
  return treeOf(files, { times: (path) => path !== '/' })
}

function filesAt(root: string) {
  return { kind: 'host', root, attributes: process.getuid?.() === 0 ? 'native' : 'override' } as const
}
