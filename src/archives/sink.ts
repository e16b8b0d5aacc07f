import { symlink } from 'node:fs/promises'
import { once } from 'node:events'
import { dirname, join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import fse from 'fs-extra'
import type { Pack } from 'tar-stream'
import { outputFile } from './output-file.js'

export type Content = AsyncIterable<Uint8Array> | Uint8Array

/** Receives the files of an archive, in order. */
export interface Sink {
  /** `size` must be known beforehand, because a tar states it before the content. */
  file(name: string, size: number, content: Content): Promise<void>
  symlink(name: string, target: string): Promise<void>
  directory(name: string): Promise<void>
}

/** Times are 1970, so the same images give the same archive. */
const EPOCH = new Date(0)

export class TarSink implements Sink {
  readonly #tar: Pack

  constructor(tar: Pack) {
    this.#tar = tar
  }

  async file(name: string, size: number, content: Content): Promise<void> {
    const entry = this.#tar.entry({ name, size, mode: 0o644, mtime: EPOCH })
    const done = once(entry, 'finish')
    await Promise.all([pipeline(Readable.from(chunksOf(content)), entry), done])
  }

  async symlink(name: string, target: string): Promise<void> {
    this.#tar.entry({ name, type: 'symlink', linkname: target, mode: 0o777, mtime: EPOCH })
  }

  async directory(name: string): Promise<void> {
    this.#tar.entry({ name: `${name}/`, type: 'directory', mode: 0o755, mtime: EPOCH })
  }
}

export class DirectorySink implements Sink {
  readonly #directory: string

  constructor(directory: string) {
    this.#directory = directory
  }

  async file(name: string, _size: number, content: Content): Promise<void> {
    const path = join(this.#directory, name)
    await fse.ensureDir(dirname(path))
    const output = await outputFile(path)
    await pipeline(Readable.from(chunksOf(content)), output)
  }

  async symlink(name: string, target: string): Promise<void> {
    await symlink(target, join(this.#directory, name))
  }

  async directory(name: string): Promise<void> {
    await fse.ensureDir(join(this.#directory, name))
  }
}

function chunksOf(content: Content): AsyncIterable<Uint8Array> | Uint8Array[] {
  return content instanceof Uint8Array ? [content] : content
}

export async function writeText(sink: Sink, name: string, text: string): Promise<void> {
  const bytes = Buffer.from(text)
  await sink.file(name, bytes.length, bytes)
}

export function writeJson(sink: Sink, name: string, document: unknown): Promise<void> {
  return writeText(sink, name, JSON.stringify(document))
}
