import { createWriteStream } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { pack } from 'tar-stream'
import { hostFiles, type Files } from './files.js'

/** The input of workloads is generated: always the same bytes, which do not compress. */

export const KIB = 1024
export const MIB = 1024 * KIB
export const GIB = 1024 * MIB

/** A regular file by its path from the root, without a leading `/`. */
export interface InputFile {
  readonly path: string
  readonly size: number
}

/** Files that are generated during iteration, so an unused tree takes no memory. */
export interface InputTree extends Iterable<InputFile> {
  /** Bytes that the files take on disk. */
  readonly space: number
}

const NOISE = noise(MIB)
const DISK_BLOCK = 4 * KIB

/** `count` files of the same size, 100 in each directory. */
export function manyFiles(count: number, size: number, below = 'tree'): InputTree {
  return {
    space: count * Math.max(size, DISK_BLOCK),
    *[Symbol.iterator]() {
      for (let index = 0; index < count; index++) {
        const directory = String(Math.floor(index / 100)).padStart(4, '0')
        yield { path: `${below}/${directory}/${String(index).padStart(6, '0')}`, size }
      }
    },
  }
}

export function oneFile(path: string, size: number): InputTree {
  return { space: Math.max(size, DISK_BLOCK), [Symbol.iterator]: () => [{ path, size }].values() }
}

export function content(size: number): Buffer {
  return size <= NOISE.length ? NOISE.subarray(0, size) : Buffer.concat([...pieces(size)])
}

/** Returns the tar of these files and their parent directories. */
export function tarOf(files: Iterable<InputFile>): Readable {
  const tar = pack()
  void (async () => {
    try {
      for (const path of directoriesOf(files))
        tar.entry({ name: path, type: 'directory', mode: 0o755, mtime })
      for (const { path, size } of files) await addFile(tar, path, size)
      tar.finalize()
    } catch (error) {
      tar.destroy(error as Error)
    }
  })()
  return Readable.from(tar, { objectMode: false })
}

const mtime = new Date(1_500_000_000_000)

async function addFile(tar: ReturnType<typeof pack>, name: string, size: number): Promise<void> {
  const header = { name, size, mode: 0o644, mtime }
  if (size <= NOISE.length) {
    await new Promise<void>((resolve, reject) =>
      tar.entry(header, content(size), (error) => (error == null ? resolve() : reject(error))),
    )
  } else {
    await pipeline(pieces(size), tar.entry(header))
  }
}

export async function writeTar(path: string, tar: Readable): Promise<string> {
  await mkdir(dirname(path), { recursive: true })
  await pipeline(tar, createWriteStream(path))
  return path
}

/** Writes the files below a host directory, or into a container. */
export async function writeTree(root: string | Files, tree: Iterable<InputFile>): Promise<void> {
  const files = typeof root === 'string' ? hostFiles(root) : root
  for (const path of directoriesOf(tree)) await files.mkdir(`/${path}`, { recursive: true })
  for (const { path, size } of tree) {
    if (size <= NOISE.length) {
      await files.writeFile(`/${path}`, content(size))
      continue
    }
    const file = await files.open(`/${path}`, 'w')
    for (const piece of pieces(size)) await file.write(piece, 0, piece.length, null)
    await file.close()
  }
}

/** Returns all parent directories, parents before children. */
function directoriesOf(files: Iterable<InputFile>): string[] {
  const found = new Set<string>()
  for (const { path } of files) {
    const parts = path.split('/').slice(0, -1)
    for (let count = 1; count <= parts.length; count++) found.add(parts.slice(0, count).join('/'))
  }
  return [...found].toSorted()
}

function* pieces(size: number): Generator<Buffer> {
  for (let left = size; left > 0; left -= NOISE.length) yield NOISE.subarray(0, Math.min(left, NOISE.length))
}

/** Bytes from a linear congruential generator; the high bytes are random enough not to compress. */
function noise(size: number): Buffer {
  const bytes = Buffer.alloc(size)
  let state = 1
  for (let index = 0; index < size; index++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    bytes[index] = state >>> 24
  }
  return bytes
}
