import { createHash } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { rename, rm } from 'node:fs/promises'
import { once } from 'node:events'
import { dirname, join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { Readable, type Writable } from 'node:stream'
import fse from 'fs-extra'
import { pack, type Pack } from 'tar-stream'
import { chainIds, sha256, type Digest, type DiffID } from '../digest.js'
import { syncDirectory } from '../durable/sync-directory.js'
import { StoreError } from '../errors.js'
import type { ImageConfig } from '../images/image-config.js'
import type { LayerStore } from '../layers/layer-store.js'
import type { OperationOptions } from '../operation.js'
import { canonicalText, familiarText, type Reference } from '../references/reference.js'

/**
 * - `docker-archive`: what `docker save` writes since v25, which older Dockers read, too: an OCI layout with Docker's
 *   `manifest.json` beside.
 * - `oci-archive`: an OCI layout as a tar.
 * - `oci-layout`: an OCI layout as a directory.
 */
export type ArchiveFormat = 'docker-archive' | 'oci-archive' | 'oci-layout'

export interface SavedImage {
  readonly configBytes: Uint8Array
  readonly config: ImageConfig
  readonly references: readonly Reference[]
}

interface Descriptor {
  readonly mediaType: string
  readonly digest: Digest
  readonly size: number
  readonly annotations?: Readonly<Record<string, string>>
}

const CONFIG_TYPE = 'application/vnd.oci.image.config.v1+json'
const LAYER_TYPE = 'application/vnd.oci.image.layer.v1.tar'
const MANIFEST_TYPE = 'application/vnd.oci.image.manifest.v1+json'
const INDEX_TYPE = 'application/vnd.oci.image.index.v1+json'

/** Writes images to a file, a directory or a stream. A file or a directory appears whole, or not at all. */
export async function saveImages(
  layers: LayerStore,
  images: readonly SavedImage[],
  output: string | Writable,
  format: ArchiveFormat,
  options: OperationOptions,
): Promise<void> {
  if (format === 'oci-layout') {
    if (typeof output !== 'string') throw new TypeError('an OCI layout is a directory: give its path')
    return whole(output, (path) => writeAll(layers, images, new DirectorySink(path), format, options))
  }
  if (typeof output !== 'string') return writeTar(layers, images, output, format, options)
  return whole(output, (path) =>
    writeTar(layers, images, createWriteStream(path, { flush: true }), format, options),
  )
}

async function writeTar(
  layers: LayerStore,
  images: readonly SavedImage[],
  output: Writable,
  format: ArchiveFormat,
  options: OperationOptions,
): Promise<void> {
  const tar = pack()
  const written = pipeline(tar, output, options.signal === undefined ? {} : { signal: options.signal })
  try {
    await writeAll(layers, images, new TarSink(tar), format, options)
    tar.finalize()
  } catch (error) {
    tar.destroy(error as Error)
    await written.catch(() => undefined)
    throw error
  }
  await written
}

async function whole(path: string, write: (temporary: string) => Promise<void>): Promise<void> {
  const temporary = join(dirname(path), `.${process.pid}-${Date.now()}.saving`)
  if (await fse.pathExists(path)) throw new StoreError('NAME_CONFLICT', `${path} is there already`, { path })
  try {
    await write(temporary)
    await rename(temporary, path)
    await syncDirectory(dirname(path))
  } catch (error) {
    await rm(temporary, { recursive: true, force: true })
    throw error
  }
}

/** Where the files of a layout go. The name of what is written must be known beforehand. */
interface Sink {
  file(name: string, size: number, content: AsyncIterable<Uint8Array> | Uint8Array): Promise<void>
}

async function writeAll(
  layers: LayerStore,
  images: readonly SavedImage[],
  sink: Sink,
  format: ArchiveFormat,
  options: OperationOptions,
): Promise<void> {
  const written = new Set<Digest>()
  const blob = async (bytes: Uint8Array, mediaType: string): Promise<Descriptor> => {
    const digest = sha256(bytes)
    if (!written.has(digest)) await sink.file(blobName(digest), bytes.length, bytes)
    written.add(digest)
    return { mediaType, digest, size: bytes.length }
  }
  const manifests: Descriptor[] = []
  const docker: object[] = []
  for (const image of images) {
    const stack = await writeLayers(layers, image.config.rootfs.diff_ids, sink, written, options)
    const config = await blob(image.configBytes, CONFIG_TYPE)
    const manifest = { schemaVersion: 2, mediaType: MANIFEST_TYPE, config, layers: stack }
    const descriptor = await blob(Buffer.from(JSON.stringify(manifest)), MANIFEST_TYPE)
    manifests.push(...named(descriptor, image))
    docker.push({
      Config: blobName(config.digest),
      RepoTags: image.references.length === 0 ? null : image.references.map(familiarText),
      Layers: stack.map(({ digest }) => blobName(digest)),
    })
  }
  await json(sink, 'index.json', { schemaVersion: 2, mediaType: INDEX_TYPE, manifests })
  if (format === 'docker-archive') await json(sink, 'manifest.json', docker)
  await json(sink, 'oci-layout', { imageLayoutVersion: '1.0.0' })
}

async function writeLayers(
  layers: LayerStore,
  diffIds: readonly DiffID[],
  sink: Sink,
  written: Set<Digest>,
  options: OperationOptions,
): Promise<Descriptor[]> {
  const descriptors: Descriptor[] = []
  for (const [index, chain] of chainIds(diffIds).entries()) {
    options.signal?.throwIfAborted()
    const diffId = diffIds[index] as DiffID
    const size = await layers.tarSize(chain)
    if (!written.has(diffId)) {
      await sink.file(blobName(diffId), size, verified(layers.tarStream(chain), diffId, size, options))
    }
    written.add(diffId)
    descriptors.push({ mediaType: LAYER_TYPE, digest: diffId, size })
  }
  return descriptors
}

async function* verified(
  tar: AsyncIterable<Uint8Array>,
  diffId: DiffID,
  total: number,
  options: OperationOptions,
): AsyncGenerator<Uint8Array, void, void> {
  const hash = createHash('sha256')
  let done = 0
  for await (const chunk of tar) {
    options.signal?.throwIfAborted()
    hash.update(chunk)
    yield chunk
    done += chunk.length
    options.onProgress?.({ type: 'layer:save', id: diffId, done, total })
  }
  if (`sha256:${hash.digest('hex')}` === diffId) return
  throw new StoreError('STORE_CORRUPT', `the files of layer ${diffId} have changed`)
}

/** An index entry for each name, as containerd and Docker read it; one without a name if there is none. */
function named(descriptor: Descriptor, { references }: SavedImage): Descriptor[] {
  if (references.length === 0) return [descriptor]
  return references.map((reference) => ({
    ...descriptor,
    annotations: {
      'io.containerd.image.name': canonicalText(reference),
      'org.opencontainers.image.ref.name': reference.tag ?? '',
    },
  }))
}

function blobName(digest: Digest): string {
  return `blobs/${digest.replace(':', '/')}`
}

async function json(sink: Sink, name: string, document: unknown): Promise<void> {
  const bytes = Buffer.from(JSON.stringify(document))
  await sink.file(name, bytes.length, bytes)
}

class TarSink implements Sink {
  readonly #tar: Pack

  constructor(tar: Pack) {
    this.#tar = tar
  }

  async file(name: string, size: number, content: AsyncIterable<Uint8Array> | Uint8Array): Promise<void> {
    const entry = this.#tar.entry({ name, size, mode: 0o644, mtime: new Date(0) })
    const done = once(entry, 'finish')
    await Promise.all([pipeline(Readable.from(chunksOf(content)), entry), done])
  }
}

class DirectorySink implements Sink {
  readonly #directory: string

  constructor(directory: string) {
    this.#directory = directory
  }

  async file(name: string, _size: number, content: AsyncIterable<Uint8Array> | Uint8Array): Promise<void> {
    const path = join(this.#directory, name)
    await fse.ensureDir(dirname(path))
    await pipeline(Readable.from(chunksOf(content)), createWriteStream(path, { flags: 'wx', flush: true }))
  }
}

function chunksOf(content: AsyncIterable<Uint8Array> | Uint8Array): AsyncIterable<Uint8Array> | Uint8Array[] {
  return content instanceof Uint8Array ? [content] : content
}
