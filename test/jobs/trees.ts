import { mkdirSync } from 'node:fs'
import { treeOf, type Tree } from '#layerstack/conformance/tree.js'
import { HostFs } from '#layerstack/fs/host/host-fs.js'
import type { UnpackJob } from '#layerstack/jobs/work/unpack.js'

/** Makes a directory to unpack a layer into. */
export function targetAt(root: string): UnpackJob['target'] {
  mkdirSync(root)
  return { form: 'merged', files: filesAt(root), lowers: [] }
}

/** What is there, with the times of all but the root, which no tar tells. */
export function treeAt(root: string): Tree {
  using files = new HostFs(filesAt(root))
  return treeOf(files, { times: (path) => path !== '/' })
}

function filesAt(root: string) {
  return { kind: 'host', root, attributes: process.getuid?.() === 0 ? 'native' : 'override' } as const
}
