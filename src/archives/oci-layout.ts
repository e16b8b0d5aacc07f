import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { compress } from '../compression/compress.js'
import type { Compression } from '../compression/compression.js'
import { chainIds, sha256, type ChainID, type Digest, type DiffID } from '../digest.js'
import type { LayerStore } from '../layers/layer-store.js'
import type { OperationOptions } from '../operation-options.js'
import { canonicalText, familiarText } from '../references/reference.js'
import { scratchFile } from './output-file.js'
import { verified, type SavedImage } from './saved-image.js'
import { writeJson, type Content, type Sink } from './sink.js'

export interface LayoutOptions extends OperationOptions {
  /** Compression of the layers. */
  readonly compression: Compression
  /** Also writes Docker's `manifest.json`. */
  readonly forDocker: boolean
  /** A directory for compressed layers: their size must be known before they are written. */
  readonly temporary: string
}

interface Descriptor {
  readonly mediaType: string
  readonly digest: Digest
  readonly size: number
  readonly annotations?: Readonly<Record<string, string>>
  readonly platform?: Readonly<Record<string, string>>
}

const CONFIG_TYPE = 'application/vnd.oci.image.config.v1+json'
const LAYER_TYPE = 'application/vnd.oci.image.layer.v1.tar'
const MANIFEST_TYPE = 'application/vnd.oci.image.manifest.v1+json'
const INDEX_TYPE = 'application/vnd.oci.image.index.v1+json'

/**
 * Writes an OCI image layout: `blobs/sha256/…`, `index.json`, `oci-layout`. The index names exactly what was written:
 * each image by each of its names.
 */
export async function writeOciLayout(
  layers: LayerStore,
  images: readonly SavedImage[],
  sink: Sink,
  options: LayoutOptions,
): Promise<void> {
  const blobs = new Blobs(sink)
  const packed = new Map<DiffID, Descriptor>()
  const manifests: Descriptor[] = []
  const docker: object[] = []
  for (const image of images) {
    const stack: Descriptor[] = []
    for (const [index, chain] of chainIds(image.config.rootfs.diff_ids).entries()) {
      options.signal?.throwIfAborted()
      const diffId = image.config.rootfs.diff_ids[index] as DiffID
      const descriptor = packed.get(diffId) ?? (await writeLayer(layers, chain, diffId, blobs, options))
      packed.set(diffId, descriptor)
      stack.push(descriptor)
    }
    const config = await blobs.bytes(image.configBytes, CONFIG_TYPE)
    const manifest = { schemaVersion: 2, mediaType: MANIFEST_TYPE, config, layers: stack }
    const descriptor = await blobs.bytes(Buffer.from(JSON.stringify(manifest)), MANIFEST_TYPE)
    manifests.push(...named(descriptor, image))
    docker.push({
      Config: blobName(config.digest),
      RepoTags: image.references.length === 0 ? null : image.references.map(familiarText),
      Layers: stack.map(({ digest }) => blobName(digest)),
    })
  }
  await writeJson(sink, 'index.json', { schemaVersion: 2, mediaType: INDEX_TYPE, manifests })
  if (options.forDocker) await writeJson(sink, 'manifest.json', docker)
  await writeJson(sink, 'oci-layout', { imageLayoutVersion: '1.0.0' })
}

async function writeLayer(
  layers: LayerStore,
  chain: ChainID,
  diffId: DiffID,
  blobs: Blobs,
  options: LayoutOptions,
): Promise<Descriptor> {
  const { compression, temporary } = options
  const size = await layers.tarSize(chain)
  const tar = verified(layers.tarStream(chain), diffId, size, options)
  if (compression === 'none') return blobs.stream(tar, diffId, size, LAYER_TYPE)
  const directory = await mkdtemp(join(temporary, '.layerstack-packing-'))
  try {
    const path = join(directory, 'layer')
    const { digest, length } = await writeHashed(compress(compression, tar), path)
    return await blobs.stream(createReadStream(path), digest, length, `${LAYER_TYPE}+${compression}`)
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

async function writeHashed(
  chunks: AsyncIterable<Uint8Array>,
  path: string,
): Promise<{ digest: Digest; length: number }> {
  const hash = createHash('sha256')
  let length = 0
  const watched = async function* (source: AsyncIterable<Uint8Array>) {
    for await (const chunk of source) {
      hash.update(chunk)
      length += chunk.length
      yield chunk
    }
  }
  const output = await scratchFile(path)
  await pipeline(chunks, watched, output)
  return { digest: `sha256:${hash.digest('hex')}` as Digest, length }
}

/** Writes each blob once. */
class Blobs {
  readonly #sink: Sink
  readonly #written = new Set<Digest>()

  constructor(sink: Sink) {
    this.#sink = sink
  }

  async bytes(bytes: Uint8Array, mediaType: string): Promise<Descriptor> {
    return this.stream(bytes, sha256(bytes), bytes.length, mediaType)
  }

  async stream(content: Content, digest: Digest, size: number, mediaType: string): Promise<Descriptor> {
    if (!this.#written.has(digest)) await this.#sink.file(blobName(digest), size, content)
    this.#written.add(digest)
    return { mediaType, digest, size }
  }
}

/** One index entry per name, as containerd and Docker read it; one entry without a name if there are no names. */
function named(descriptor: Descriptor, { references, config }: SavedImage): Descriptor[] {
  const { architecture, os, variant } = config
  const platform =
    architecture === undefined || os === undefined
      ? {}
      : { platform: { architecture, os, ...(variant !== undefined && { variant }) } }
  if (references.length === 0) return [{ ...descriptor, ...platform }]
  return references.map((reference) => ({
    ...descriptor,
    ...platform,
    annotations: {
      'io.containerd.image.name': canonicalText(reference),
      'org.opencontainers.image.ref.name': reference.tag ?? '',
    },
  }))
}

function blobName(digest: Digest): string {
  return `blobs/${digest.replace(':', '/')}`
}
