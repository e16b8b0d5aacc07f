import { createHash, type Hash } from 'node:crypto'
import { TarReader } from '#layerstack/tar/reader.js'
import type { TarHeader, TarPart } from '#layerstack/tar/part.js'
import type { Known } from './known-differences.js'

/** By path in the tar of a whole filesystem: one line with metadata and a content hash. Bytes are latin1. */
export type Tree = Map<string, string>

export interface TreeOptions {
  /** `docker`: only what Docker's export holds, whole seconds and capabilities as the only xattrs. @default 'docker' */
  readonly detail?: 'docker' | 'all'
}

/** The lines of hard links to one file list all names of the file. */
export async function treeOf(tar: AsyncIterable<Uint8Array>, options: TreeOptions = {}): Promise<Tree> {
  const { detail = 'docker' } = options
  const tree: Tree = new Map()
  const links = new Map<string, string[]>()
  const reader = new TarReader()
  let path = ''
  let hash: Hash | undefined
  const finish = () => {
    if (hash !== undefined) tree.set(path, `${tree.get(path)} ${hash.digest('hex')}`)
    hash = undefined
  }
  const read = (parts: Iterable<TarPart>) => {
    for (const part of parts) {
      if (part.type === 'content') hash?.update(part.bytes)
      if (part.type !== 'header') continue
      finish()
      const { header } = part
      path = clean(header.name)
      if (header.type === 'link') {
        const first = clean(header.linkName)
        links.set(first, [...(links.get(first) ?? []), path])
        continue
      }
      if (header.type === 'file') hash = createHash('sha256')
      tree.set(path, lineOf(header, detail))
    }
  }
  for await (const chunk of tar) read(reader.push(chunk))
  read(reader.end())
  finish()
  for (const [first, others] of links) {
    const names = [first, ...others].toSorted()
    const line = `${tree.get(first)} = ${names.join(' = ')}`
    for (const name of names) tree.set(name, line)
  }
  return tree
}

/** Paths at which two trees differ, with the lines of both. Empty if the trees are equal. */
export function differences(ours: Tree, theirs: Tree, known: Known = () => undefined): string[] {
  const paths = [...new Set([...ours.keys(), ...theirs.keys()])].toSorted()
  return paths
    .filter((path) => known(path) !== 'all')
    .map((path) => [path, ...[ours, theirs].map((tree) => seen(tree.get(path), known(path)))])
    .filter(([, our, their]) => our !== their)
    .map(([path, our, their]) => `${path}\n  ours:   ${our}\n  theirs: ${their}`)
}

function seen(line: string | undefined, known: ReturnType<Known>): string | undefined {
  return known === 'time' ? line?.replace(/ @\S+/, '') : line
}

function lineOf(header: TarHeader, detail: 'docker' | 'all'): string {
  const { type, mode, uid, gid, mtimeNs, linkName, device, xattrs } = header
  const attributes = [...xattrs]
    .filter(([name]) => detail === 'all' || name === 'security.capability')
    .map(([name, value]) => `${name}=${value.toString('hex')}`)
    .toSorted()
  return [
    type,
    mode.toString(8),
    `${uid}:${gid}`,
    `@${detail === 'all' ? mtimeNs : seconds(mtimeNs)}`,
    ...(type === 'symlink' ? [`→ ${linkName}`] : []),
    ...(type === 'char' || type === 'block' ? [`${device.major}:${device.minor}`] : []),
    ...attributes,
  ].join(' ')
}

function seconds(ns: bigint): bigint {
  return ns >= 0n ? ns / 1_000_000_000n : -((-ns + 999_999_999n) / 1_000_000_000n)
}

function clean(name: string): string {
  return name.replace(/^(\.?\/)+/, '').replace(/\/+$/, '')
}
