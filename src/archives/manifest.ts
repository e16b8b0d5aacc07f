import { isDigest, sha256, type Digest } from '../digest.js'
import { StoreError } from '../errors.js'
import { parseImageConfig, type ImageConfig } from '../images/image-config.js'
import type { ArchiveFiles } from './archive-files.js'

/** One image of an archive: what it claims, with every claim that can be checked without its layers checked. */
export interface ArchivedImage {
  readonly configBytes: Buffer
  readonly config: ImageConfig
  readonly references: readonly string[]
  /** One for each DiffID, lowest first. */
  readonly layers: readonly ArchivedLayer[]
}

export interface ArchivedLayer {
  /** Name in the archive. */
  readonly name: string
  /** Of the file as it lies there, where the archive tells. */
  readonly blob: Digest | undefined
}

const INDEX_TYPES = new Set([
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
])
const MAX_DEPTH = 4

/** Reads what images an archive holds: Docker's `manifest.json` if it has one, else OCI's `index.json`. */
export async function readImages(files: ArchiveFiles): Promise<ArchivedImage[]> {
  if (files.has('manifest.json')) return merged(await dockerImages(files))
  if (files.has('index.json'))
    return merged(await ociImages(files, await json(files, 'index.json'), undefined, 0))
  throw new StoreError('ARCHIVE_UNSUPPORTED', 'neither a docker-archive nor an OCI layout', {
    hint: 'it has no manifest.json and no index.json; a plain root filesystem goes in through import()',
  })
}

/** An image that is named several times is one image with several names. */
function merged(images: readonly ArchivedImage[]): ArchivedImage[] {
  const byId = new Map<Digest, ArchivedImage>()
  for (const image of images) {
    const id = sha256(image.configBytes)
    const before = byId.get(id) ?? image
    byId.set(id, { ...before, references: [...new Set([...before.references, ...image.references])] })
  }
  return [...byId.values()]
}

interface DockerEntry {
  readonly Config: string
  readonly RepoTags?: readonly string[] | null
  readonly Layers: readonly string[]
}

async function dockerImages(files: ArchiveFiles): Promise<ArchivedImage[]> {
  const entries = await json(files, 'manifest.json')
  if (!Array.isArray(entries)) throw invalid('manifest.json is not a list')
  return Promise.all(
    (entries as DockerEntry[]).map(async (entry) => {
      if (typeof entry?.Config !== 'string' || !Array.isArray(entry.Layers))
        throw invalid('manifest.json is malformed')
      const configBytes = await files.read(entry.Config)
      const layers = entry.Layers.map((name) => ({ name, blob: undefined }))
      return archived(configBytes, entry.RepoTags ?? [], layers)
    }),
  )
}

interface Descriptor {
  readonly mediaType?: string
  readonly digest: string
  readonly annotations?: Readonly<Record<string, string>>
}

async function ociImages(
  files: ArchiveFiles,
  index: unknown,
  inherited: string | undefined,
  depth: number,
): Promise<ArchivedImage[]> {
  const { manifests } = index as { manifests?: unknown }
  if (!Array.isArray(manifests) || depth > MAX_DEPTH) throw invalid('index.json is malformed')
  const images: ArchivedImage[] = []
  for (const descriptor of manifests as Descriptor[]) {
    const name = nameOf(descriptor) ?? inherited
    const document = await blobJson(files, descriptor)
    if (INDEX_TYPES.has(descriptor.mediaType ?? '') || 'manifests' in document) {
      images.push(...(await ociImages(files, document, name, depth + 1)))
    } else images.push(await ociImage(files, document, name))
  }
  return images
}

async function ociImage(
  files: ArchiveFiles,
  manifest: object,
  name: string | undefined,
): Promise<ArchivedImage> {
  const { config, layers } = manifest as { config?: Descriptor; layers?: Descriptor[] }
  if (config === undefined || !Array.isArray(layers)) throw invalid('an image manifest is malformed')
  const configBytes = await blob(files, config)
  const named = name === undefined ? [] : [name]
  return archived(
    configBytes,
    named,
    layers.map((layer) => ({ name: blobName(layer), blob: layer.digest as Digest })),
  )
}

/** containerd's name is whole; OCI's own may be a tag alone, which says no name. */
function nameOf({ annotations = {} }: Descriptor): string | undefined {
  const whole = annotations['io.containerd.image.name']
  const name = annotations['org.opencontainers.image.ref.name']
  return whole ?? (name !== undefined && /[:/]/.test(name) ? name : undefined)
}

function archived(
  configBytes: Buffer,
  references: readonly string[],
  layers: readonly ArchivedLayer[],
): ArchivedImage {
  const config = parseImageConfig(configBytes)
  const wanted = config.rootfs.diff_ids.length
  if (layers.length !== wanted) {
    throw invalid(`the manifest names ${layers.length} layers, the config of the image ${wanted}`)
  }
  return { configBytes, config, references, layers }
}

async function blobJson(files: ArchiveFiles, descriptor: Descriptor): Promise<object> {
  const document = parse(await blob(files, descriptor), descriptor.digest)
  if (typeof document !== 'object' || document === null)
    throw invalid(`${descriptor.digest} is no JSON object`)
  return document
}

async function blob(files: ArchiveFiles, descriptor: Descriptor): Promise<Buffer> {
  const bytes = await files.read(blobName(descriptor))
  if (sha256(bytes) === descriptor.digest) return bytes
  throw new StoreError(
    'DIGEST_MISMATCH',
    `the archive's file ${blobName(descriptor)} is not what its name says`,
  )
}

function blobName({ digest }: Descriptor): string {
  if (!isDigest(digest)) throw invalid(`a descriptor has no sha256 digest: ${JSON.stringify(digest)}`)
  return `blobs/${digest.replace(':', '/')}`
}

async function json(files: ArchiveFiles, name: string): Promise<unknown> {
  return parse(await files.read(name), name)
}

function parse(bytes: Buffer, name: string): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'))
  } catch (error) {
    throw invalid(`${name} is no JSON`, error)
  }
}

function invalid(why: string, cause?: unknown): StoreError {
  return new StoreError('MANIFEST_INVALID', `the archive cannot be loaded: ${why}`, { cause })
}
